"""`python -m spacy lm find-lr`: a learning rate range test with its picture."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Optional

import typer
from spacy.cli._util import Arg, Opt
from thinc.api import Config
from wasabi import msg

from ..pretraining.config import resolve_lm_config
from ..pretraining.loop import LanguageModelTrainer
from ..pretraining.setup import setup_finetuning, setup_pretraining
from ..pretraining.watching.lr_plot import check_plot, plot_range_test
from ..pretraining.watching.lr_range import run_range_test
from ._util import CONTEXT, load_config, prepare, user_errors
from .lm import lm_cli


@lm_cli.command("find-lr", context_settings=CONTEXT)
def find_lr_cli(
    ctx: typer.Context,
    config_path: Path = Arg(..., help="Path to config file", allow_dash=True),
    output_path: Path = Opt(
        ..., "--output", "-o", help="Picture to write, e.g. lr.png"
    ),
    source: Optional[str] = Opt(
        None, "--from", help="Pipeline with a trained language model, to fine-tune it"
    ),
    start: float = Opt(1e-7, help="First rate"),
    end: float = Opt(10.0, help="Last rate"),
    n_steps: int = Opt(100, "--n-steps", "-n", help="Most steps", min=20),
    code_path: Optional[Path] = Opt(
        None, "--code", "-c", help="Python file with functions to import"
    ),
    use_gpu: int = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
    threads: int = Opt(0, "--threads", help="CPU threads, 0 for all cores"),
    verbose: bool = Opt(False, "--verbose", "-V", help="Show more"),
) -> None:
    """Find a learning rate: train at rising rates until the loss explodes.

    The config is that of pretrain, or with --from that of finetune. Nothing is kept but
    the picture; the rates are suggestions for the largest rate of a schedule.
    """
    with user_errors():
        check_plot(output_path)
        _check_rates(start, end)
        prepare(use_gpu, code_path, verbose, threads)
        config = load_config(config_path, ctx.args)
        with TemporaryDirectory() as directory:
            trainer = _setup(config, source, Path(directory), n_steps)
            found = run_range_test(
                trainer.losses_at, start=start, end=end, n_steps=n_steps
            )
        plot_range_test(found, output_path)
        rows = [(name, f"{rate:.2e}") for name, rate in found.suggestions().items()]
        msg.table(rows, header=("suggestion", "rate"), aligns=("l", "r"), divider=True)
        msg.good("Saved the picture", str(output_path))


def _setup(
    config: Config, source: Optional[str], directory: Path, n_steps: int
) -> LanguageModelTrainer:
    # What is missing in the config is told before something is put in.
    resolve_lm_config(config.interpolate())
    config["lm"].update(max_steps=n_steps, max_epochs=0)
    if source is None:
        return setup_pretraining(config, directory)
    return setup_finetuning(config, directory, source=source)


def _check_rates(start: float, end: float) -> None:
    if not 0 < start < end:
        raise ValueError(
            f"Rates rise from --start {start} to --end {end}: the first must be above 0, "
            "and the last above the first."
        )
