"""The curves of a training run as a page that needs nothing but itself."""

import math
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import srsly
from spacy.util import dict_to_dot, logger
from thinc.api import Config

from ...pages.charts import Series, line_chart, short_number
from ...pages.html import percent, render_template
from ...replacing import replacing
from .progress import Progress

_TRAINED, _HELD_OUT, _FORWARD, _BACKWARD, _PLAIN = (
    "#c2611a", "#1f66a8", "#79b2eb", "#4f9a94", "#67635b",
)  # fmt: skip
_COLUMNS = {
    "step": "step",
    "tokens": "tokens",
    "loss": "training loss",
    "perplexity": "held-out perplexity",
    "distance": "held-out distance",
    "learn_rate": "rate",
    "grad_norm": "gradient norm",
    "tokens_per_second": "tokens/s",
}
# How the criterion of a run is written, and what it is computed by.
_MEASURES = {
    "perplexity": ("{:.2f}", "full softmax"),
    "distance": ("{:.4f}", "cosine distance"),
}
_SECTIONS = ("components", "corpora", "lm")
Row = Dict[str, float]
Figure = Tuple[str, str, str]


def write_report(path: Path, progress: Progress, config: Config) -> None:
    """Write the report of a run as far as it has come; a full disk stops no training.

    path (Path): The HTML file.
    progress (Progress): Where the run stands, with the rows of its evaluations.
    config (Config): The config of the run's pipeline.
    """
    html = report_to_html(progress, config)
    try:
        with replacing(path) as temporary:
            temporary.write_text(html, encoding="utf-8")
    except OSError as error:
        logger.warning("%s could not be written: %s", path, error.strerror)


def report_to_html(progress: Progress, config: Config) -> str:
    """Return the page that `write_report` writes; its arguments are the same."""
    rows = progress.rows
    component = config["lm"]["component"]
    columns = [name for name in _COLUMNS if any(name in row for row in rows)]
    return render_template(
        "training.html",
        page=True,
        title=f"Training of {component}",
        lead=_lead(progress),
        figures=_figures(progress),
        charts=_charts(progress, _name_of_training(config["lm"])),
        columns=[_COLUMNS[name] for name in columns],
        rows=[[_cell(row, name) for name in columns] for row in rows],
        settings=_settings(config),
    )


def _lead(progress: Progress) -> str:
    row = progress.rows[-1]
    text = f"{row['step']:,} steps, {short_number(row['tokens'])} tokens, "
    text += f"{row['seconds'] / 3600:.2f} hours."
    left = row.get("seconds_left", 0.0)
    return text + (f" About {left / 3600:.2f} hours to go." if left else "")


def _figures(progress: Progress) -> List[Figure]:
    rows, name = progress.rows, progress.criterion
    best = min(rows, key=lambda row: row[name])
    last = rows[-1]
    form, by = _MEASURES[name]
    figures = [
        (f"Best {name}", form.format(best[name]), f"at step {best['step']:,}"),
        (f"Last {name}", form.format(last[name]), f"{by}, held-out text"),
    ]
    for direction in _directions(last, name):
        value = form.format(best[f"{name}_{direction}"])
        figures.append((direction.capitalize(), value, "of the best"))
    if name == "perplexity":
        unigram = f"{last['unigram_perplexity']:,.0f}"
        figures += [
            ("Unigram perplexity", unigram, "of word frequencies alone"),
            ("OOV rate", percent(last["oov_rate"]), "of the held-out words"),
        ]
    return [
        *figures,
        ("Vocabulary", f"{last['n_words']:,}", "words"),
        ("Held-out text", short_number(last["n_tokens"]), "tokens"),
    ]


def _charts(progress: Progress, trained: str) -> List[Dict[str, Any]]:
    rows, name = progress.rows, progress.criterion
    is_perplexity = name == "perplexity"
    training = [
        {**row, "training": _perplexity(row["loss"]) if is_perplexity else row["loss"]}
        for row in rows
        if "loss" in row
    ]
    lines = [
        Series(trained, _points(training, "training"), _TRAINED),
        Series("held-out", _points(rows, name), _HELD_OUT),
    ]
    if _directions(rows[-1], name):
        lines[1:1] = [
            Series("forward", _points(rows, f"{name}_forward"), _FORWARD),
            Series("backward", _points(rows, f"{name}_backward"), _BACKWARD),
        ]
    if is_perplexity:
        unigram = _points(rows, "unigram_perplexity")
        lines.insert(0, Series("unigram", unigram, _PLAIN, dashed=True))
    others = (
        ("Learning rate", "learn_rate"),
        ("Gradient norm", "grad_norm"),
        ("Tokens per second", "tokens_per_second"),
    )
    return [
        line_chart(
            name.capitalize(),
            lines,
            x_label="tokens",
            logarithmic=is_perplexity,
            wide=True,
        ),
        *(
            line_chart(
                title,
                # Before the first step there is nothing of the kind.
                [Series(title, _points(rows[1:], name), _HELD_OUT)],
                x_label="tokens",
            )
            for title, name in others
        ),
    ]


def _directions(row: Row, name: str) -> Tuple[str, ...]:
    """Return the directions of a model that has both: of one alone it is the whole."""
    both = ("forward", "backward")
    return both if all(f"{name}_{direction}" in row for direction in both) else ()


def _name_of_training(settings: Dict[str, Any]) -> str:
    """Return what the training loss makes: not always a perplexity."""
    if settings.get("n_samples"):
        return "training, sampled (no perplexity)"
    if settings.get("distillation"):
        return "training, with the teacher's (no perplexity)"
    return "training"


def _points(rows: Sequence[Row], name: str) -> List[Tuple[float, float]]:
    return [(row["tokens"], row[name]) for row in rows if name in row]


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))


def _cell(row: Row, name: str) -> str:
    if name not in row:
        return ""
    value = row[name]
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def _settings(config: Config) -> List[Tuple[str, str]]:
    config = config.interpolate()
    sections = {name: config[name] for name in _SECTIONS if name in config}
    return [
        (name, srsly.json_dumps(value))
        for name, value in sorted(dict_to_dot(sections).items())
    ]
