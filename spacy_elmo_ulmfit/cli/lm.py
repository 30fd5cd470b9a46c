"""`python -m spacy lm`: train, continue and evaluate language models."""

from functools import partial
from pathlib import Path
from typing import Dict, Optional

import srsly
import typer
from spacy.cli._util import Arg, Opt, app
from wasabi import msg

from ..pipeline.source import find_language_model, load_pipeline
from ..pretraining.corpus.corpora import RawTextReader
from ..pretraining.corpus.preparation import read_shards
from ..pretraining.corpus.reading import StreamReader
from ..pretraining.evaluate import evaluate_language_model
from ..pretraining.loop import LanguageModelTrainer
from ..pretraining.resuming.signals import TrainingInterrupted
from ..pretraining.setup import setup_finetuning, setup_pretraining
from ..pretraining.workers import join_workers, local_gpu
from ..replacing import replacing
from ._util import CONTEXT, load_config, prepare, user_errors

lm_cli = typer.Typer(
    name="lm",
    help="Train, continue and evaluate recurrent language models.",
    no_args_is_help=True,
)
app.add_typer(lm_cli)

_CONFIG = Arg(..., help="Path to config file", allow_dash=True)
_OUTPUT = Opt(..., "--output", "-o", help="Directory of the run")
_CODE = Opt(None, "--code", "-c", help="Python file with functions to import")
_GPU = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU")
_RESUME = Opt(False, "--resume", help="Go on from the run's last checkpoint")
_THREADS = Opt(0, "--threads", help="CPU threads, 0 for all cores")
_SIGNAL_EXIT = 128
# Tokens of a text in memory at a time.
_SHARD_TOKENS = 1_000_000
_VERBOSE = Opt(False, "--verbose", "-V", help="Show more")


@lm_cli.command("pretrain", context_settings=CONTEXT)
def pretrain_cli(
    ctx: typer.Context,
    config_path: Path = _CONFIG,
    output_path: Path = _OUTPUT,
    code_path: Optional[Path] = _CODE,
    use_gpu: int = _GPU,
    resume: bool = _RESUME,
    threads: int = _THREADS,
    verbose: bool = _VERBOSE,
) -> None:
    """Train a language model on raw text.

    The config says which: a biLM for an elmo_tok2vec component, an AWD-LSTM for an
    awd_lstm_tok2vec. Writes model-best and model-last, pipelines that spacy.load
    reads. Settings can be overridden, for example --paths.train text.txt.
    """
    with user_errors(), join_workers() as workers:
        prepare(local_gpu(use_gpu), code_path, verbose, threads)
        config = load_config(config_path, ctx.args)
        trainer = setup_pretraining(config, output_path, resume=resume, workers=workers)
        _run(trainer, resume)


@lm_cli.command("finetune", context_settings=CONTEXT)
def finetune_cli(
    ctx: typer.Context,
    config_path: Path = _CONFIG,
    output_path: Path = _OUTPUT,
    source: str = Opt(..., "--from", help="Pipeline with a trained language model"),
    code_path: Optional[Path] = _CODE,
    use_gpu: int = _GPU,
    resume: bool = _RESUME,
    threads: int = _THREADS,
    verbose: bool = _VERBOSE,
) -> None:
    """Go on training a language model on other text, such as a task's.

    Its vocabulary is mapped by name: known words keep what they learnt, new words
    start from the mean.
    """
    with user_errors(), join_workers() as workers:
        prepare(local_gpu(use_gpu), code_path, verbose, threads)
        config = load_config(config_path, ctx.args)
        trainer = setup_finetuning(
            config, output_path, source=source, resume=resume, workers=workers
        )
        _run(trainer, resume)


@lm_cli.command("evaluate")
def evaluate_cli(
    pipeline: str = Arg(..., help="Pipeline with a language model"),
    text_path: Path = Arg(..., help="Text, one document per line"),
    output_path: Optional[Path] = Opt(None, "--output", "-o", help="JSON file"),
    use_gpu: int = _GPU,
    threads: int = _THREADS,
) -> None:
    """Print a language model's perplexity on a text.

    Always by the full softmax, over every token once, with the size of the
    vocabulary and the share of words outside it.
    """
    with user_errors():
        prepare(use_gpu, None, False, threads)
        metrics = _evaluate(pipeline, text_path)
        print_metrics(metrics)
        if output_path is not None:
            with replacing(output_path) as temporary:
                srsly.write_json(temporary, metrics)


def print_metrics(metrics: Dict[str, float]) -> None:
    """Print perplexities and what they depend on."""
    rows = []
    for name, value in metrics.items():
        text = f"{value:.2%}" if name == "oov_rate" else f"{value:,.2f}"
        rows.append((name, f"{value:,}" if isinstance(value, int) else text))
    msg.table(rows, aligns=("l", "r"))


def _run(trainer: LanguageModelTrainer, resume: bool) -> None:
    try:
        metrics = trainer.train(resume=resume)
    except TrainingInterrupted as stopped:
        if trainer.workers.is_main:
            msg.warn(str(stopped))
        # What a shell reports of a command that a signal ended.
        raise typer.Exit(_SIGNAL_EXIT + stopped.number) from stopped
    if trainer.workers.is_main:
        print_metrics(metrics)
        msg.good("Saved the pipelines", str(trainer.output / "model-best"))


def _evaluate(pipeline: str, text_path: Path) -> Dict[str, float]:
    nlp = load_pipeline(pipeline)
    found = find_language_model(nlp, source=pipeline)
    if found.vocabulary is None:
        raise ValueError(
            f"The language model in {pipeline} has no softmax, so it has no perplexity."
        )
    read = StreamReader(partial(load_pipeline, pipeline), found.name)
    shards = read_shards(
        read, RawTextReader(text_path), str(text_path), shard_tokens=_SHARD_TOKENS
    )
    return evaluate_language_model(
        found.module, shards, found.vocabulary, indexer=found.indexer
    )
