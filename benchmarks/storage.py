"""What `storage` costs: file sizes, vectors and perplexities of the shipped models.

    python benchmarks/storage.py

The models in assets/models are stored in every way and loaded again. Their vectors are
compared with those of the float16 weights they are shipped with, on the texts of
assets/raw/dev.txt; the perplexities are those of `lm evaluate` on the same file. Results
go to benchmarks/results.
"""

from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import numpy
import spacy
import srsly
import typer
from _runs import (
    RESULTS,
    ROOT,
    WORK,
    commit,
    machine,
    markdown_table,
    spacy_command,
)
from wasabi import msg

from spacy_elmo_ulmfit.pipeline.serialization import WEIGHTS_FILE

# That of the shipped weights comes first: it is what the others are compared with.
STORAGES = ("float16", "float32", "int8")
TEXT = ROOT / "assets" / "raw" / "dev.txt"


class Shipped(NamedTuple):
    """A shipped model.

    name (str): Its folder in assets/models.
    component (str): Its component.
    attribute (str): Where its layers are on a document.
    """

    name: str
    component: str
    attribute: str


MODELS = (
    Shipped("en_elmo_sm", "elmo_tok2vec", "elmo"),
    Shipped("en_ulmfit_sm", "awd_lstm_tok2vec", "awd_lstm"),
)


def main(
    work: Path = WORK,
    text: Path = typer.Option(TEXT, help="Texts to compare on, a line each"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Store both models in every way, measure, and write the table."""
    rows = [row for model in MODELS for row in measure(model, work / "storage", text)]
    output.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "commit": commit(), "rows": rows}
    srsly.write_json(output / "storage.json", results)
    header, table = list(rows[0]), [[str(v) for v in row.values()] for row in rows]
    msg.table(table, header=header, divider=True)
    note = (
        f"Vectors of all layers on the {count_lines(text)} texts of {text.name}, compared "
        "with those of the float16 weights: largest difference, norm of the difference by "
        "the norm, cosines of a token's vectors in one layer. The float32 rows are the "
        "float16 weights in a larger file. Perplexities on the same texts.\n"
    )
    markdown = markdown_table(header, table) + "\n" + note
    (output / "storage.md").write_text(markdown, encoding="utf-8")


def measure(model: Shipped, work: Path, text: Path) -> List[Dict[str, Any]]:
    """Return a row for each way to store a model."""
    rows: List[Dict[str, Any]] = []
    for storage in STORAGES:
        path = store(model, storage, work)
        layers = compute_layers(model, path, text)
        if storage == STORAGES[0]:
            expected = layers
        size = (path / model.component / WEIGHTS_FILE).stat().st_size
        rows.append(
            {
                "model": model.name,
                "storage": storage,
                "bytes": size,
                "share of float16": round(
                    size / (rows[0]["bytes"] if rows else size), 3
                ),
                **compare(layers, expected),
                **perplexities(path, text),
            }
        )
        msg.info(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    return rows


def store(model: Shipped, storage: str, work: Path) -> Path:
    """Write a model in another way and return where it is."""
    override = {f"components.{model.component}.model.storage": storage}
    path = work / f"{model.name}-{storage}"
    path.mkdir(parents=True, exist_ok=True)
    nlp = spacy.load(ROOT / "assets" / "models" / model.name, config=override)
    nlp.to_disk(path)
    return path


def compute_layers(model: Shipped, path: Path, text: Path) -> Any:
    """Return the layers of all words, `(n_layers, n_words, width)`, as float64."""
    nlp = spacy.load(path)
    lines = text.read_text(encoding="utf-8").splitlines()
    layers = []
    for doc in nlp.pipe(line for line in lines if line.strip()):
        words = [token.i for token in doc if not token.is_space]
        layers.append(getattr(doc._, model.attribute).layers[:, words])
    return numpy.concatenate(layers, axis=1).astype("float64")


def compare(found: Any, expected: Any) -> Dict[str, float]:
    """Return how far vectors are from others."""
    norms = numpy.linalg.norm(found, axis=2) * numpy.linalg.norm(expected, axis=2)
    cosines = (found * expected).sum(axis=2) / norms
    distance = numpy.linalg.norm(found - expected) / numpy.linalg.norm(expected)
    return {
        "largest difference": round(float(abs(found - expected).max()), 5),
        "largest value": round(float(abs(expected).max()), 3),
        "relative difference": round(float(distance), 5),
        "mean cosine": round(float(cosines.mean()), 6),
        "least cosine": round(float(cosines.min()), 6),
    }


def perplexities(path: Path, text: Path) -> Dict[str, Any]:
    """Return what `lm evaluate` finds, of both directions and of each."""
    metrics = path.with_suffix(".json")
    spacy_command("lm", "evaluate", path, text, "--output", metrics)
    found = srsly.read_json(metrics)
    rows = ("perplexity", "perplexity_forward", "perplexity_backward")
    # An AWD-LSTM has one direction only.
    return {
        name.replace("_", " "): round(found[name], 3) if name in found else "none"
        for name in rows
    }


def count_lines(text: Path) -> int:
    """Return the number of texts in a file."""
    lines = text.read_text(encoding="utf-8").splitlines()
    return sum(bool(line.strip()) for line in lines)


if __name__ == "__main__":
    typer.run(main)
