"""Gather the metrics of all runs into one table: metrics/summary.json and summary.md.

Reads what `spacy evaluate`, `lm evaluate` and timed.py wrote:
metrics/TASK/PIPELINE.json, metrics/TASK/PIPELINE.seconds.json and metrics/lm/NAME.json.
"""

from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence

import srsly
import typer
from wasabi import msg

# Pipelines that start from a pretrained language model.
PRETRAINED = {"elmo": True, "ulmfit": True, "baseline": False, "scratch": False}
# Entity F-score; for exclusive labels the micro F-score is the accuracy.
METRICS = {"ents_f": "ents_f", "cats_micro_f": "accuracy"}


def main(
    metrics: Path = typer.Argument(Path("metrics"), help="Folder of the metrics"),
) -> None:
    """Write and print the tables."""
    rows = list(_task_rows(metrics))
    models = list(_model_rows(metrics))
    if not rows:
        msg.fail(f"No metrics in {metrics}: run the evaluation first.", exits=1)
    srsly.write_json(metrics / "summary.json", rows)
    text = _markdown(rows)
    if models:
        text += "\n\n" + _markdown(models)
    (metrics / "summary.md").write_text(text + "\n", encoding="utf-8")
    _print(rows)
    if models:
        _print(models)
    msg.good(f"Wrote {metrics / 'summary.json'} and {metrics / 'summary.md'}")


def _task_rows(metrics: Path) -> Iterator[Dict[str, Any]]:
    for path in sorted(metrics.glob("*/*.json")):
        if path.stem not in PRETRAINED:
            continue
        scores = srsly.read_json(path)
        name = next(name for name in METRICS if scores.get(name) is not None)
        seconds = srsly.read_json(path.with_suffix(".seconds.json"))["seconds"]
        yield {
            "task": path.parent.name,
            "pipeline": path.stem,
            "pretrained": PRETRAINED[path.stem],
            "metric": METRICS[name],
            "score": round(scores[name], 4),
            "train_seconds": seconds,
            "words_per_second": round(scores["speed"]),
        }


def _model_rows(metrics: Path) -> Iterator[Dict[str, Any]]:
    for path in sorted(metrics.glob("lm/*.json")):
        scores = srsly.read_json(path)
        yield {
            "language model": path.stem,
            "perplexity": round(scores["perplexity"], 2),
            "unigram perplexity": round(scores["unigram_perplexity"], 2),
            "vocabulary": scores["n_words"],
            "OOV rate": round(scores["oov_rate"], 4),
        }


def _cells(rows: Sequence[Dict[str, Any]]) -> List[List[str]]:
    return [[str(value) for value in row.values()] for row in rows]


def _print(rows: Sequence[Dict[str, Any]]) -> None:
    msg.table(_cells(rows), header=list(rows[0]), divider=True)


def _markdown(rows: Sequence[Dict[str, Any]]) -> str:
    header = list(rows[0])
    lines = [header, ["---"] * len(header), *_cells(rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


if __name__ == "__main__":
    typer.run(main)
