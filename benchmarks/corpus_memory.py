"""Memory and time that preparing a corpus takes, for corpora of several sizes.

    python benchmarks/corpus_memory.py --data DATA --words 2000000 --words 20000000

DATA is a folder with the data sets, as docs/data.md describes; the text is the training
part of wiki-featured. Each corpus is prepared in a process of its own, as `lm pretrain`
does it before the first step: read, tokenised, cut into shards, words counted, model
built. Results go to benchmarks/results.
"""

import shutil
import time
from pathlib import Path
from typing import Any, Dict, List

import srsly
import typer
from _corpora import featured_text
from _runs import (
    DATA,
    RESULTS,
    WORK,
    commit,
    config_file,
    in_new_process,
    machine,
    markdown_table,
    peak_memory,
)
from spacy.util import load_config
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.setup import setup_pretraining

CONFIGS = ("bilm", "awd_lstm")
HELD_OUT_WORDS = 20_000


def main(
    data: Path = DATA,
    work: Path = WORK,
    words: List[int] = typer.Option([2_000_000, 20_000_000], help="Sizes of corpora"),
    configs: List[str] = typer.Option(
        CONFIGS, "--config", help="Configs to prepare for"
    ),
    n_process: int = typer.Option(1, help="Processes that read the text"),
) -> None:
    """Prepare corpora of growing size and write what it took."""
    rows = []
    for config in configs:
        for size in words:
            text = featured_text(data, work / "wiki-featured", size)
            held_out = featured_text(data, work / "wiki-featured", HELD_OUT_WORDS)
            arguments = config, text, held_out, work / "run", n_process
            rows.append(
                {"config": config, "words": size, "n_process": n_process}
                | in_new_process(prepare_corpus, *arguments)
            )
            msg.info(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    RESULTS.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "commit": commit(), "rows": rows}
    srsly.write_json(RESULTS / "corpus-memory.json", results)
    table = [[str(value) for value in row.values()] for row in rows]
    markdown = markdown_table(list(rows[0]), table)
    (RESULTS / "corpus-memory.md").write_text(markdown, encoding="utf-8")


def prepare_corpus(
    config: str, text: Path, held_out: Path, output: Path, n_process: int
) -> Dict[str, Any]:
    """Prepare a corpus and return what it took."""
    shutil.rmtree(output, ignore_errors=True)
    overrides = {
        "paths.train": str(text),
        "paths.dev": str(held_out),
        "lm.n_process": n_process,
    }
    settings = load_config(config_file(config), overrides=overrides, interpolate=False)
    at_rest = peak_memory()
    started = time.monotonic()
    trainer = setup_pretraining(settings, output)
    seconds = time.monotonic() - started
    stream = trainer.train_stream
    return {
        "tokens": stream.n_tokens,
        "shards": len(stream),
        "word_types": max(len(shard.types) for shard in stream),
        "seconds": round(seconds, 1),
        "tokens_per_second": round(stream.n_tokens / seconds),
        "mb_before": at_rest,
        "mb_peak": peak_memory(),
    }


if __name__ == "__main__":
    typer.run(main)
