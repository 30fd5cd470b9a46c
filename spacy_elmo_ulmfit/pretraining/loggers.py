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
    "TRAIN PPL",
    "DEV PPL",
    "FORWARD",
    "BACKWARD",
    "RATE",
    "TOK/S",
)
_WIDTHS = (3, 7, 10, 10, 9, 9, 9, 9, 7)


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
        if nlp.config.get("lm", {}).get("n_samples"):
            # The loss among a few words is no perplexity.
            columns[columns.index("TRAIN PPL")] = "SAMPLED"
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


def _train_perplexity(info: Dict[str, Any]) -> Optional[float]:
    loss = max(info["losses"].values(), default=0.0)
    return math.exp(min(loss, 700.0)) if loss else None


def _row(info: Dict[str, Any]) -> Tuple[str, ...]:
    scores = info["other_scores"]
    train = _train_perplexity(info)
    backward = scores.get("perplexity_backward")
    return (
        str(info["epoch"]),
        str(info["step"]),
        f"{info['words']:,}",
        "" if train is None else f"{train:.2f}",
        f"{scores['perplexity']:.2f}",
        f"{scores['perplexity_forward']:.2f}",
        "" if backward is None else f"{backward:.2f}",
        f"{scores['learn_rate']:.2e}",
        f"{info['words'] / max(1, info['seconds']):,.0f}" if info["words"] else "",
    )


def _record(info: Dict[str, Any]) -> Dict[str, Any]:
    return {
        "epoch": info["epoch"],
        "step": info["step"],
        "tokens": info["words"],
        "seconds": info["seconds"],
        "loss": max(info["losses"].values(), default=0.0),
        **info["other_scores"],
    }
