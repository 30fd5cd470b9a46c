"""What keeping a frozen biLM's outputs saves: time and memory of a training.

    python benchmarks/frozen_cache.py --data DATA
    python benchmarks/frozen_cache.py --data DATA --size original

DATA is a folder with the data sets, as docs/data.md describes. The named entities of
Universal NER English EWT are trained with configs/ner_elmo.cfg without a cache, with the
one in memory, with one on disk that is empty at first, and with the same one again; each
in a process of its own, with one thread and the same seed. The three that have a cache
must end with the same weights. The biLM is the shipped one, or one of a published size
with random weights: what a cache saves depends on what it costs to read a sentence.
Results go to benchmarks/results. Linux only: it asks /proc for the memory.
"""

import contextlib
import hashlib
import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

import srsly
import torch
import typer
from _runs import (
    DATA,
    RESULTS,
    SHIPPED_BILM,
    WORK,
    commit,
    config_file,
    in_new_process,
    machine,
    markdown_table,
    peak_memory,
    prepare,
)
from bilm_speed import ORIGINAL, SMALL, bilm_pipeline
from spacy.cli.evaluate import evaluate
from spacy.cli.train import train
from spacy.util import load_config
from wasabi import msg

ENCODER = "elmo_tok2vec"
SHIPPED = "shipped"
SIZES = {"small": SMALL, "original": ORIGINAL}
# Without a cache numbers are not rounded, so its weights are others.
WITHOUT = "no cache"
# The order matters: the last one finds what the one before it has kept.
VARIANTS = (WITHOUT, "in memory", "on disk, cold", "on disk, warm")


def main(
    data: Path = DATA,
    work: Path = WORK,
    epochs: int = typer.Option(10, help="Epochs of each training"),
    limit: int = typer.Option(3000, help="Training sentences"),
    cache_mb: int = typer.Option(4096, help="Room of the caches, in megabytes"),
    size: str = typer.Option(SHIPPED, help=f"{SHIPPED}, or one of {', '.join(SIZES)}"),
) -> None:
    """Train once without a cache and with each kind of one, write the table."""
    folder = work / "frozen-cache" / size
    corpus = prepare_corpus(data / "uner-ewt", folder / "corpus", limit)
    source = encoder_pipeline(size, folder / "pipeline")
    cache = folder / "cache"
    shutil.rmtree(cache, ignore_errors=True)
    rows = []
    for variant in VARIANTS:
        settings = {
            "cache_mb": 0 if variant == WITHOUT else cache_mb,
            "cache_dir": str(cache) if "disk" in variant else None,
        }
        found = in_new_process(run, folder, source, corpus, epochs, settings)
        rows.append({"cache": variant, "mb_on_disk": megabytes(cache), **found})
        msg.info(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    name = "frozen-cache" if size == SHIPPED else f"frozen-cache-{size}"
    write(name, rows, {"size": size, "epochs": epochs, "sentences": limit})
    check(rows)


def prepare_corpus(source: Path, corpus: Path, limit: int) -> Dict[str, str]:
    """Convert the data; return where it is, as the config has it."""
    train_part, dev_part = corpus / f"train{limit}.spacy", corpus / "dev.spacy"
    limited = f"--limit={limit}"
    prepare("ner-conll", source / "train.conll.gz", train_part, limited)
    prepare("ner-conll", source / "dev.conll.gz", dev_part)
    return {"paths.train": str(train_part), "paths.dev": str(dev_part)}


def encoder_pipeline(size: str, folder: Path) -> Path:
    """Return where a pipeline with a biLM of some size is."""
    if size == SHIPPED:
        return SHIPPED_BILM
    torch.manual_seed(0)
    bilm_pipeline(SIZES[size]).to_disk(folder)
    return folder


def run(
    folder: Path,
    source: Path,
    corpus: Dict[str, str],
    epochs: int,
    settings: Dict[str, Any],
) -> Dict[str, Any]:
    """Train as `spacy train` does; return what it took, and what came of it."""
    torch.set_num_threads(1)
    overrides = {
        **corpus,
        "training.max_epochs": epochs,
        "training.max_steps": 0,
        # The development data is evaluated at the end alone, beside the clock.
        "training.eval_frequency": 10**9,
        "corpora.dev.limit": 1,
    }
    config, output = folder / "config.cfg", folder / "run"
    write_config(config, source, settings)
    shutil.rmtree(output, ignore_errors=True)
    output.mkdir(parents=True)
    at_rest = peak_memory()
    started, computing = time.monotonic(), time.process_time()
    with (output / "train.log").open("w", encoding="utf-8") as log:
        with contextlib.redirect_stdout(log):
            train(config, output, overrides=overrides)
    seconds, cpu_seconds = time.monotonic() - started, time.process_time() - computing
    at_most = peak_memory()
    model = output / "model-last"
    with contextlib.redirect_stdout(None):
        scores = evaluate(str(model), Path(corpus["paths.dev"]))
    weights = (model / "ner" / "model").read_bytes()
    return {
        "seconds": round(seconds, 1),
        # What is left of them where other programs share the machine.
        "cpu_seconds": round(cpu_seconds, 1),
        "mb_before": at_rest,
        "mb_peak": at_most,
        "ents_f": round(scores["ents_f"], 4),
        "weights": hashlib.sha256(weights).hexdigest()[:12],
    }


def write_config(path: Path, source: Path, settings: Dict[str, Any]) -> None:
    """Write ner_elmo.cfg with the encoder's block written out: sources keep theirs."""
    config = load_config(config_file("ner_elmo"), interpolate=False)
    block = load_config(source / "config.cfg")["components"][ENCODER]
    config["components"][ENCODER] = {**block, **settings}
    listener = config["components"]["ner"]["model"]["tok2vec"]["embed"]["right"]
    # Both directions side by side.
    listener["width"] = 2 * block["model"]["projection_dim"]
    config["initialize"]["components"][ENCODER] = {"path": str(source)}
    config.to_disk(path)


def megabytes(folder: Path) -> int:
    """Return the size of a folder's files."""
    sizes = (path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return sum(sizes) // 2**20


def write(name: str, rows: List[Dict[str, Any]], settings: Dict[str, Any]) -> None:
    """Write the results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "commit": commit(), **settings, "rows": rows}
    srsly.write_json(RESULTS / f"{name}.json", results)
    table = [[str(value) for value in row.values()] for row in rows]
    markdown = markdown_table(list(rows[0]), table)
    (RESULTS / f"{name}.md").write_text(markdown, encoding="utf-8")


def check(rows: List[Dict[str, Any]]) -> None:
    """Stop with an error if it mattered to the result where outputs were kept."""
    cached = [row for row in rows if row["cache"] != WITHOUT]
    if len({(row["ents_f"], row["weights"]) for row in cached}) > 1:
        raise SystemExit("The trainings with a cache ended with different weights.")


if __name__ == "__main__":
    typer.run(main)
