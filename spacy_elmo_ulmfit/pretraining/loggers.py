"""The table that language model training prints, in spaCy's logger protocol."""

import math
import sys
from pathlib import Path
from typing import IO, Any, Callable, Dict, Optional, Tuple

import srsly
import tqdm
from spacy.language import Language
from spacy.util import registry
from wasabi import Printer

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

        def log_step(info: Optional[Dict[str, Any]]) -> None:
            nonlocal bar
            if info is None:
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
                bar = tqdm.tqdm(total=steps, file=stderr, leave=False, unit="step")

        def finalize() -> None:
            if bar is not None:
                bar.close()

        print_row(columns)
        print_row(["-" * width for width in _WIDTHS])
        return log_step, finalize

    return setup


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
        form.format(scores[f"{criterion}_forward"]),
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
