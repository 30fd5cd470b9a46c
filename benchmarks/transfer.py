"""What the shipped language models are worth: the same networks with and without them.

    python benchmarks/transfer.py uner-ewt --data DATA
    python benchmarks/transfer.py trec6 --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Every run is a plain
`spacy train` in a folder of its own; a run that is there already is not repeated, so
an interrupted benchmark goes on where it stopped. Results go to benchmarks/results.
"""

import platform
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

import srsly
import torch
import typer
from wasabi import msg

app = typer.Typer(help=__doc__, no_args_is_help=True)
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
DATA = typer.Option(..., "--data", help="Folder with the data sets")
WORK = typer.Option(Path("training/benchmark"), "--work", help="Folder of the runs")
SEEDS = typer.Option(3, help="Runs per row, with seeds 0, 1, ...")
JOBS = typer.Option(2, help="Runs at a time, one thread each")


class Row(NamedTuple):
    """One row of a table: a config with its overrides, run once per seed.

    name (str): Name of the row.
    n_train (int): Number of training examples.
    config (str): Name of the config.
    overrides (Dict[str, str]): Settings on the command line.
    """

    name: str
    n_train: int
    config: str
    overrides: Dict[str, str]


@app.command("uner-ewt")
def uner_ewt(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    limit: int = typer.Option(3000, help="Training sentences"),
    steps: int = typer.Option(600, help="Training steps"),
) -> None:
    """NER on Universal NER English EWT: [x; ELMo], frozen biLM, against x alone."""
    corpus = work / "uner-ewt" / "corpus"
    source = data / "uner-ewt"
    prepare(
        "ner-conll",
        source / "train.conll.gz",
        corpus / "train.spacy",
        f"--limit={limit}",
    )
    prepare("ner-conll", source / "dev.conll.gz", corpus / "dev.spacy")
    paths = {
        "paths.train": str(corpus / "train.spacy"),
        "paths.dev": str(corpus / "dev.spacy"),
        "training.max_steps": str(steps),
    }
    rows = [
        Row("baseline", limit, "ner_baseline", paths),
        Row("elmo", limit, "ner_elmo", paths),
    ]
    run_table("uner-ewt", rows, "ents_f", work, seeds, jobs)


@app.command("trec6")
def trec6(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    few: int = typer.Option(100, help="Training examples of the small setting"),
    few_steps: int = typer.Option(300, help="Training steps of the small setting"),
    steps: int = typer.Option(1000, help="Training steps with all examples"),
    lm_steps: int = typer.Option(400, help="Steps of language model fine-tuning"),
) -> None:
    """TREC-6: ULMFiT (fine-tuned on the task's text) against random weights."""
    folder = work / "trec6"
    corpus, source = folder / "corpus", data / "trec6" / "train.jsonl.gz"
    split = ("--dev-share=0.1", f"--dev-out={corpus / 'dev.spacy'}")
    prepare("textcat-jsonl", source, corpus / "train.spacy", *split)
    prepare(
        "textcat-jsonl", source, corpus / f"train_{few}.spacy", f"--limit={few}", *split
    )
    for part in ("train", "dev"):
        prepare("raw", corpus / f"{part}.spacy", "--output", corpus / f"{part}.txt")
    encoder = folder / "lm" / "model-best"
    if not (folder / "lm" / "model-last").exists():
        spacy_command(
            "lm", "finetune", ROOT / "configs" / "awd_lstm_finetune.cfg",
            "--from", ROOT / "assets" / "models" / "en_ulmfit_sm",
            "--output", folder / "lm", "--lm.max_steps", lm_steps,
            "--paths.train", corpus / "train.txt", "--paths.dev", corpus / "dev.txt",
        )  # fmt: skip
    n_all = int(srsly.read_json(count_file(corpus / "train.spacy"))["examples"])
    rows = []
    for n_train, n_steps, name, batch_size in (
        (few, few_steps, f"train_{few}", 16),
        (n_all, steps, "train", 32),
    ):
        paths = {
            "paths.train": str(corpus / f"{name}.spacy"),
            "paths.dev": str(corpus / "dev.spacy"),
            "training.max_steps": str(n_steps),
            "training.optimizer.learn_rate.num_steps": str(n_steps),
            "training.batcher.size": str(batch_size),
        }
        rows.append(Row("scratch", n_train, "textcat_scratch", paths))
        rows.append(
            Row(
                "ulmfit",
                n_train,
                "textcat_ulmfit",
                {**paths, "paths.encoder": str(encoder)},
            )
        )
    run_table("trec6", rows, "cats_micro_f", work, seeds, jobs)


def count_file(corpus: Path) -> Path:
    """Write down the number of examples of a corpus, beside it."""
    from spacy.tokens import DocBin

    path = corpus.with_suffix(".json")
    srsly.write_json(path, {"examples": len(DocBin().from_disk(corpus))})
    return path


def run_table(
    task: str, rows: Sequence[Row], metric: str, work: Path, seeds: int, jobs: int
) -> None:
    """Run all rows with all seeds, write and print the table."""
    tasks = [(row, seed) for row in rows for seed in range(seeds)]
    with ThreadPoolExecutor(jobs) as pool:
        metrics = list(pool.map(lambda item: run(task, item[0], item[1], work), tasks))
    results = []
    for row in rows:
        runs = [m for (other, _), m in zip(tasks, metrics) if other is row]
        scores = [m[metric] for m in runs]
        results.append(
            {
                "task": task,
                "pipeline": row.name,
                "train_examples": row.n_train,
                "metric": "accuracy" if metric == "cats_micro_f" else metric,
                "mean": round(statistics.mean(scores), 4),
                "stdev": round(statistics.stdev(scores), 4) if len(scores) > 1 else 0.0,
                "scores": [round(score, 4) for score in scores],
            }
        )
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {"processor": platform.machine(), "torch": torch.__version__}
    srsly.write_json(RESULTS / f"{task}.json", {"machine": machine, "rows": results})
    table = [[str(value) for value in row.values()] for row in results]
    msg.table(table, header=list(results[0]), divider=True)
    header = list(results[0])
    lines = [header, ["---"] * len(header), *table]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    (RESULTS / f"{task}.md").write_text(text + "\n", encoding="utf-8")


def run(task: str, row: Row, seed: int, work: Path) -> Dict[str, Any]:
    """Train and evaluate one row with one seed, unless that was done before."""
    folder = work / task / f"{row.name}_{row.n_train}" / f"seed{seed}"
    scores = folder / "scores.json"
    if not scores.exists():
        overrides: List[Any] = [
            part for key, value in row.overrides.items() for part in (f"--{key}", value)
        ]
        config = ROOT / "configs" / f"{row.config}.cfg"
        spacy_command(
            "train", config, "--output", folder, "--system.seed", seed, *overrides
        )
        spacy_command(
            "evaluate",
            folder / "model-best",
            row.overrides["paths.dev"],
            "--output",
            scores,
        )
    return srsly.read_json(scores)


def prepare(command: str, *arguments: Any) -> None:
    """Run a command of scripts/prepare.py."""
    script = ROOT / "scripts" / "prepare.py"
    subprocess.run(
        [sys.executable, str(script), command, *map(str, arguments)], check=True
    )


def spacy_command(*arguments: Any) -> None:
    """Run a spaCy command with one thread; show its output only when it fails."""
    import os

    result = subprocess.run(
        [sys.executable, "-m", "spacy", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if result.returncode:
        print(result.stdout, result.stderr)
        raise SystemExit(result.returncode)


if __name__ == "__main__":
    app()
