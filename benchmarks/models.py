"""The shipped models: their sizes, how long they take to load, vectors bit by bit.

    python benchmarks/models.py

Each model of assets/models is loaded in several processes, one after the other. Each of
them times `spacy.load` after the imports, takes the checksum of the layers of
assets/raw/dev.txt, and scores nothing. Perplexities are those of the models' cards.
Results go to benchmarks/results.
"""

import hashlib
import statistics
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy
import spacy
import srsly
import torch
import typer
from _runs import (
    RESULTS,
    ROOT,
    commit,
    in_new_process,
    machine,
    markdown_table,
    peak_memory,
    size_on_disk,
)
from wasabi import msg

from spacy_elmo_ulmfit.pipeline.serialization import WEIGHTS_FILE

MODELS = ROOT / "assets" / "models"
TEXT = ROOT / "assets" / "raw" / "dev.txt"
ATTRIBUTES = {"elmo_tok2vec": "elmo", "awd_lstm_tok2vec": "awd_lstm"}
HEADER = (
    "model", "parameters", "weights in MB", "pipeline in MB", "perplexity", "seconds to load",
    "peak memory in MB", "words/s", "vectors",
)  # fmt: skip


def main(
    repeats: int = typer.Option(5, help="Processes that load each model"),
    threads: int = typer.Option(1, help="Threads of each"),
    text: Path = typer.Option(TEXT, help="Texts to read, a line each"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Measure all shipped models and write the table."""
    rows = [
        measure(path.parent, text, repeats, threads)
        for path in sorted(MODELS.glob("*/config.cfg"))
    ]
    results = {
        "machine": machine(),
        "commit": commit(),
        "threads": threads,
        "rows": rows,
    }
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "models.json", results)
    table = [format_row(row) for row in rows]
    note = (
        f"Medians of {repeats} processes with {threads} thread(s). Loading is `spacy.load` "
        "after `import spacy, torch, spacy_elmo_ulmfit`; memory is that of the whole "
        "process. Vectors are the layers of assets/raw/dev.txt.\n\n"
    )
    (output / "models.md").write_text(
        note + markdown_table(HEADER, table), encoding="utf-8"
    )
    msg.table(table, header=HEADER, divider=True)


def measure(model: Path, text: Path, repeats: int, threads: int) -> Dict[str, Any]:
    """Load a model several times and sum up."""
    runs = [in_new_process(load_and_read, model, text, threads) for _ in range(repeats)]
    meta = srsly.read_json(model / "meta.json")
    (about,) = meta["language_model"].values()
    weights = sum(path.stat().st_size for path in model.rglob(WEIGHTS_FILE))
    return {
        "model": model.name,
        "parameters": runs[0]["parameters"],
        "weights_mb": round(weights / 2**20, 1),
        "pipeline_mb": round(size_on_disk(model) / 2**20, 1),
        "perplexity": about["perplexity"],
        **{
            key: statistics.median(run[key] for run in runs)
            for key in ("load_seconds", "peak_mb", "words_per_second")
        },
        "checksums": sorted({run["checksum"] for run in runs}),
        "repeats": repeats,
    }


def load_and_read(model: Path, text: Path, threads: int) -> Dict[str, Any]:
    """Load a model in this process and read the texts with it."""
    torch.set_num_threads(threads)
    started = time.perf_counter()
    nlp = spacy.load(model)
    load_seconds = time.perf_counter() - started
    (name,) = (name for name in nlp.pipe_names if name in ATTRIBUTES)
    texts: List[str] = text.read_text(encoding="utf-8").splitlines()
    started = time.perf_counter()
    docs = list(nlp.pipe(texts))
    seconds = time.perf_counter() - started
    digest = hashlib.sha256()
    for doc in docs:
        layers = getattr(doc._, ATTRIBUTES[name]).layers
        digest.update(numpy.ascontiguousarray(layers).tobytes())
    module: Any = nlp.get_pipe(name)
    parameters = module.language_model.parameters()
    return {
        "load_seconds": load_seconds,
        "words_per_second": sum(map(len, docs)) / seconds,
        "peak_mb": peak_memory(),
        "parameters": sum(parameter.numel() for parameter in parameters),
        "checksum": digest.hexdigest(),
    }


def format_row(row: Dict[str, Any]) -> List[str]:
    """Return the cells of a model."""
    same = len(row["checksums"]) == 1
    return [
        f"`{row['model']}`",
        f"{row['parameters']:,}",
        f"{row['weights_mb']:.1f}",
        f"{row['pipeline_mb']:.1f}",
        f"{row['perplexity']:.1f}",
        f"{row['load_seconds']:.2f}",
        f"{row['peak_mb']:,.0f}",
        f"{row['words_per_second']:,.0f}",
        f"{row['repeats']} of {row['repeats']} equal" if same else "they differ",
    ]


if __name__ == "__main__":
    typer.run(main)
