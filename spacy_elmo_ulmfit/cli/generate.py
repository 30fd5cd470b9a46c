"""`python -m spacy lm generate`: text from a language model."""

import torch
from spacy.cli._util import Arg, Opt
from wasabi import msg

from ..pipeline.source import load_pipeline
from ..pretraining.generate import generate
from ._util import prepare, user_errors
from .lm import lm_cli


@lm_cli.command("generate")
def generate_cli(
    pipeline: str = Arg(..., help="Pipeline with a language model"),
    prompt: str = Arg(..., help="What the text begins with; may be empty"),
    n_words: int = Opt(50, "--n-words", "-n", help="Most words to write"),
    min_words: int = Opt(1, help="Words before which a document does not end"),
    n_samples: int = Opt(1, help="Number of texts"),
    temperature: float = Opt(
        1.0, "--temperature", "-t", help="Below 1 likely words come more often"
    ),
    top_k: int = Opt(0, help="Draw from so many words, the likeliest, 0 for all"),
    min_p: float = Opt(
        0.0,
        help="Draw from words of at least this share of the likeliest's probability",
    ),
    no_repeat: int = Opt(
        0, help="Let no sequence of so many words stand there twice, 0 for any may"
    ),
    beams: int = Opt(
        1, help="Above 1, look for the likeliest text by beam search of this width"
    ),
    length_penalty: float = Opt(
        1.0, help="Of beam search: 0 favours short texts, 1 counts the mean per word"
    ),
    unknown: bool = Opt(False, "--unknown", help="Let the unknown word be written"),
    seed: int = Opt(0, "--seed", "-s", help="What is drawn depends on it"),
    use_gpu: int = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
) -> None:
    """Let a language model go on writing a text.

    A biLM writes with its forward direction, and writes words of its softmax's
    vocabulary only. The same seed gives the same texts.
    """
    with user_errors():
        prepare(use_gpu, None, False)
        # The log-probabilities are those of float32, on every machine.
        torch.set_float32_matmul_precision("highest")
        texts = generate(
            load_pipeline(pipeline),
            prompt,
            n_words=n_words,
            min_words=min_words,
            n_samples=n_samples,
            temperature=temperature,
            top_k=top_k,
            min_p=min_p,
            no_repeat=no_repeat,
            beams=beams,
            length_penalty=length_penalty,
            unknown=unknown,
            seed=seed,
        )
        for number, text in enumerate(texts, start=1):
            if len(texts) > 1:
                msg.divider(f"{number}, log-probability {text.log_prob:.2f}")
            print(f"{prompt} {text.text}".strip())
