"""Text that the language model of a pipeline writes."""

from typing import Iterable, List, NamedTuple, cast

import torch
from spacy.language import Language
from spacy.pipeline import TrainablePipe

from ..modules.generation import Sampling, TextLimits, sample_texts, search_texts
from ..pipeline.source import find_language_model
from ..text import Vocabulary
from .corpus.stream import prepared_docs
from .writers import create_writer


class Continuation(NamedTuple):
    """What a language model wrote after a prompt.

    text (str): The text.
    words (List[str]): The model's words of it, markers included.
    log_prob (float): Their log-probability given the prompt, in nats.
    """

    text: str
    words: List[str]
    log_prob: float


def generate(
    nlp: Language,
    prompt: str,
    *,
    n_words: int = 50,
    min_words: int = 1,
    n_samples: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    min_p: float = 0.0,
    no_repeat: int = 0,
    beams: int = 1,
    length_penalty: float = 1.0,
    unknown: bool = False,
    seed: int = 0,
) -> List[Continuation]:
    """Let the language model of a pipeline go on writing a text.

    An AWD-LSTM stops at the end of the document, or after `n_words`; a biLM, which
    knows the ends of sentences only, begins another sentence.

    nlp (Language): The pipeline; its first language model writes.
    prompt (str): What the text begins with; it may be empty.
    n_words (int): Most words to write, markers and boundaries counted.
    min_words (int): Words before which a document does not end.
    n_samples (int): Number of texts.
    temperature (float): Below 1 likely words come more often, above 1 less; with 0
        always the likeliest.
    top_k (int): Number of words to draw from, the likeliest, 0 for all.
    min_p (float): Least probability of a word to draw from, as a share of the
        likeliest word's.
    no_repeat (int): No sequence of so many words stands twice in the whole text, 0 for
        any may.
    beams (int): Above 1 nothing is drawn: the likeliest texts are looked for by beam
        search of that width.
    length_penalty (float): Texts found by beam search are compared by their
        log-probability divided by this power of their number of words; 0 favours short
        ones.
    unknown (bool): Whether the unknown word may be written.
    seed (int): What is drawn depends on it.
    RETURNS (List[Continuation]): The texts, with beams the likeliest first. One that is
        drawn does not depend on how many there are.
    RAISES (ValueError): If the pipeline has no language model that reads forward and
        predicts words, or a setting is out of its range.
    """
    _check_least(1, n_words=n_words, n_samples=n_samples, beams=beams)
    _check_least(0, min_words=min_words, no_repeat=no_repeat, seed=seed)
    _check_least(0, temperature=temperature, top_k=top_k, min_p=min_p)
    _check_least(0, length_penalty=length_penalty)
    if min_p > 1:
        raise ValueError(f"min_p is a share, at most 1, not {min_p}.")
    sampling = Sampling(temperature, top_k, min_p, seed)
    if beams > 1:
        _check_search(sampling, n_samples, beams)
    found = find_language_model(nlp)
    (doc,) = prepared_docs(nlp, found.name, [nlp.make_doc(prompt)])
    writer = create_writer(cast(TrainablePipe, nlp.get_pipe(found.name)).model)
    banned = [*writer.silent, *([] if unknown else writer.unknown)]
    limits = TextLimits(
        n_words,
        min_words,
        no_repeat,
        ends=_known_ids(writer.vocabulary, writer.ends),
        banned=_known_ids(writer.vocabulary, banned),
        marks=_known_ids(writer.vocabulary, writer.marks),
    )
    with torch.no_grad():
        start = writer.start(doc)
    if beams > 1:
        texts = search_texts(writer, start, limits, beams, length_penalty)
        texts = texts[:n_samples]
    else:
        texts = sample_texts(writer, start, limits, sampling, n_samples)
    results = []
    for text in texts:
        words = [writer.vocabulary.words[i] for i in text.ids]
        results.append(Continuation(writer.decode(words), words, text.log_prob))
    return results


def _known_ids(vocabulary: Vocabulary, words: Iterable[str]) -> List[int]:
    return vocabulary.ids(word for word in words if word in vocabulary)


def _check_least(least: int, **values: float) -> None:
    for name, value in values.items():
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, not {value}.")


def _check_search(sampling: Sampling, n_samples: int, beams: int) -> None:
    if sampling != Sampling(seed=sampling.seed):
        raise ValueError(
            "With beams above 1 nothing is drawn: leave out temperature, top_k and "
            "min_p, or set beams to 1."
        )
    if n_samples > beams:
        raise ValueError(
            f"A search with {beams} beams finds no {n_samples} texts. Set beams to "
            f"{n_samples} or more."
        )
