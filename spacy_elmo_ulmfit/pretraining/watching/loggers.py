"""The table that language model training prints, in spaCy's logger protocol."""

import math
import sys
from pathlib import Path
from typing import IO, Any, Callable, Dict, Optional, Sequence, Tuple

import srsly
import tqdm
from spacy.language import Language
from spacy.util import registry
from thinc.api import Config
from wasabi import Printer

from ..config import LMConfig
from .progress import Progress

LogStep = Callable[[Optional[Dict[str, Any]]], None]

_COLUMNS = (
    "E",
    "#",
    "TOKENS",
    "LOSS",
    "TRAIN PPL",
    "DEV PPL",
    "FORWARD",
    "BACKWARD",
    "RATE",
    "NORM",
    "TOK/S",
    "ETA",
)
# What the protocol has places of its own for.
_NO_SCORES = ("epoch", "step", "tokens", "seconds", "loss")
_WIDTHS = (3, 7, 11, 6, 9, 9, 9, 9, 8, 8, 7, 8)


@registry.loggers("spacy-elmo-ulmfit.LMConsoleLogger.v1")
def create_lm_console_logger(
    progress_bar: bool = True, output_file: Optional[Path] = None
) -> Callable[..., Tuple[LogStep, Callable[[], None]]]:
    """Create the logger of language model training.

    progress_bar (bool): Whether to show the way to the next evaluation.
    output_file (Optional[Path]): Append every row to this file too, as JSON lines.
    RETURNS (Callable): Sets the logger up for a pipeline.
    """

    def setup(
        nlp: Language, stdout: IO[str] = sys.stdout, stderr: IO[str] = sys.stderr
    ) -> Tuple[LogStep, Callable[[], None]]:
        printer = Printer(no_print=True)
        columns = list(_COLUMNS)
        settings = nlp.config.get("lm", {})
        if settings.get("n_samples") or settings.get("distillation"):
            # The loss among a few words, or with a teacher's, is no perplexity.
            name = "SAMPLED" if settings.get("n_samples") else "TAUGHT"
            columns[columns.index("TRAIN PPL")] = name
        if settings.get("target_vectors"):
            columns[columns.index("DEV PPL")] = "DEV DIST"
        steps = nlp.config["training"]["eval_frequency"]
        bar: Optional[tqdm.tqdm] = None

        def print_row(row: Any) -> None:
            line = printer.row(row, widths=_WIDTHS, aligns=["r"] * len(_WIDTHS))
            print(line, file=stdout, flush=True)

        def show_progress(total: Optional[int]) -> tqdm.tqdm:
            return tqdm.tqdm(total=total, file=stderr, leave=False, unit="step")

        def log_step(info: Optional[Dict[str, Any]]) -> None:
            nonlocal bar
            if info is None:
                if bar is None and progress_bar:
                    # A resumed run: when the next evaluation is due is not known here.
                    bar = show_progress(None)
                if bar is not None:
                    bar.update(1)
                return
            if bar is not None:
                bar.close()
            print_row(_row(info))
            if output_file is not None:
                path = Path(output_file)
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("a", encoding="utf-8") as file:
                    file.write(srsly.json_dumps(_record(info)) + "\n")
            if progress_bar:
                bar = show_progress(steps)

        def finalize() -> None:
            if bar is not None:
                bar.close()

        print_row(columns)
        print_row(["-" * width for width in _WIDTHS])
        return log_step, finalize

    return setup


def tell_logger(nlp_config: Config, config: LMConfig, criterion: str) -> None:
    """Write what loggers of spaCy's protocol read from a pipeline's config.

    nlp_config (Config): The pipeline's config.
    config (LMConfig): Settings of the run.
    criterion (str): The metric by which a model is the best.
    """
    training = nlp_config["training"]
    training["max_steps"] = config.max_steps
    training["eval_frequency"] = config.eval_frequency
    training["score_weights"] = {criterion: 0.0}


def evaluation_info(
    progress: Progress, config: LMConfig, pipe_names: Sequence[str]
) -> Dict[str, Any]:
    """Return what loggers of spaCy's protocol are told of the last evaluation.

    progress (Progress): Where the run stands, with the row of the evaluation.
    config (LMConfig): Settings of the run.
    pipe_names (Sequence[str]): Components of the pipeline.
    RETURNS (Dict[str, Any]): The values by the protocol's names.
    """
    row = progress.rows[-1]
    return {
        "epoch": progress.epoch,
        "step": progress.step,
        "score": 1.0 / row[progress.criterion],
        "other_scores": {name: row[name] for name in row if name not in _NO_SCORES},
        "losses": {
            name: row.get("loss", 0.0) if name == config.component else 0.0
            for name in pipe_names
        },
        "checkpoints": [(1.0 / value, step) for step, value in progress.history],
        "seconds": int(progress.seconds),
        "words": progress.n_tokens,
        "max_steps": config.max_steps,
    }


def silent_logger(*_: Any) -> Tuple[LogStep, Callable[[], None]]:
    """Set up a logger that says nothing, for the processes beside the first one.

    RETURNS (Tuple[Callable, Callable]): What the protocol of loggers asks for.
    """

    def log_step(info: Optional[Dict[str, Any]]) -> None:
        return None

    def finalize() -> None:
        return None

    return log_step, finalize


def _row(info: Dict[str, Any]) -> Tuple[str, ...]:
    scores = info["other_scores"]
    loss = max(info["losses"].values(), default=0.0)
    criterion = "distance" if "distance" in scores else "perplexity"
    form = "{:.4f}" if criterion == "distance" else "{:.2f}"
    of_loss = math.exp(min(loss, 700.0)) if loss and criterion == "perplexity" else None
    return (
        str(info["epoch"]),
        str(info["step"]),
        f"{info['words']:,}",
        f"{loss:.3f}" if loss else "",
        _shown(of_loss, "{:.2f}"),
        form.format(scores[criterion]),
        _shown(scores.get(f"{criterion}_forward"), form),
        _shown(scores.get(f"{criterion}_backward"), form),
        f"{scores['learn_rate']:.2e}",
        _shown(scores.get("grad_norm"), "{:.3g}"),
        _shown(scores.get("tokens_per_second"), "{:,.0f}"),
        _shown_time(scores.get("seconds_left")),
    )


def _shown(value: Optional[float], form: str) -> str:
    return "" if value is None else form.format(value)


def _shown_time(seconds: Optional[float]) -> str:
    if seconds is None:
        return ""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _record(info: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "epoch": info["epoch"],
        "step": info["step"],
        "tokens": info["words"],
        "seconds": info["seconds"],
        "loss": max(info["losses"].values(), default=0.0),
        **info["other_scores"],
    }
