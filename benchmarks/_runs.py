"""What the benchmarks share: runs of `spacy train` with several seeds, and their tables.

Every run has a folder of its own; one that is there already is not repeated, so an
interrupted benchmark goes on where it stopped.
"""

import contextlib
import functools
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, TypeVar

import srsly
import torch
import typer
from spacy.cli.evaluate import evaluate
from spacy.cli.train import train
from wasabi import msg

from spacy_elmo_ulmfit.modules.processor import cpu_name

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
SHIPPED_BILM = ROOT / "assets" / "models" / "en_elmo_sm"
DATA = typer.Option(..., "--data", help="Folder with the data sets")
WORK = typer.Option(Path("training/benchmark"), "--work", help="Folder of the runs")
SEEDS = typer.Option(3, help="Runs per row, with seeds 0, 1, ...")
JOBS = typer.Option(2, help="Runs at a time, one thread each")
GPU = typer.Option(-1, "--gpu-id", help="GPU to train on, -1 for the CPU")
# Settings and scores of a run, in its folder.
RUN = "run.json"
# What `spacy evaluate` calls the share of documents whose best label is the right one.
ACCURACY = "cats_micro_f"


class Row(NamedTuple):
    """One row of a table: a config with its overrides, run once per seed.

    name (str): Name of the row.
    n_train (int): Number of training examples.
    config (Path): The config.
    overrides (Dict[str, str]): Settings on the command line; `{seed}` in a value is
        replaced by the seed.
    model (str): Which pipeline of a run is evaluated, `"model-best"` or `"model-last"`.
    test (Optional[Path]): Corpus that the pipeline is scored on besides the dev part;
        such a run is a process of its own, whose memory is measured.
    """

    name: str
    n_train: int
    config: Path
    overrides: Dict[str, str]
    model: str = "model-best"
    test: Optional[Path] = None

    def folder(self, task: str, work: Path) -> Path:
        """Return where the runs of all seeds are."""
        return work / task / f"{self.name}_{self.n_train}"

    def settings(self, seed: int) -> Dict[str, str]:
        """Return the overrides of a run."""
        return {
            key: value.replace("{seed}", str(seed))
            for key, value in self.overrides.items()
        }


def config_file(name: str) -> Path:
    """Return the path of one of the project's configs."""
    return ROOT / "configs" / f"{name}.cfg"


def run_table(
    task: str, rows: Sequence[Row], metric: str, work: Path, seeds: int, jobs: int
) -> None:
    """Run all rows with all seeds, write and print the table."""
    results = [
        summarize(task, runs, metric)
        for runs in run_rows(task, rows, work, seeds, jobs)
    ]
    RESULTS.mkdir(parents=True, exist_ok=True)
    srsly.write_json(RESULTS / f"{task}.json", {"machine": machine(), "rows": results})
    header = list(results[0])
    table = [[str(value) for value in row.values()] for row in results]
    msg.table(table, header=header, divider=True)
    (RESULTS / f"{task}.md").write_text(markdown_table(header, table), encoding="utf-8")


def run_rows(
    task: str,
    rows: Sequence[Row],
    work: Path,
    seeds: int,
    jobs: int,
    gpu_id: int = -1,
) -> List[List[Dict[str, Any]]]:
    """Run all rows with all seeds; return the runs of each row."""
    # Seed by seed, so that a benchmark that is stopped has compared all rows.
    tasks = [(row, seed) for seed in range(seeds) for row in rows]
    # Processes that stay save the import of spaCy and torch for every run.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(
        jobs, mp_context=context, initializer=torch.set_num_threads, initargs=(1,)
    ) as pool:
        runs = list(pool.map(functools.partial(run, task, work, gpu_id), *zip(*tasks)))
    return [runs[i :: len(rows)] for i in range(len(rows))]


def finished_runs(
    task: str, rows: Sequence[Row], work: Path
) -> List[List[Dict[str, Any]]]:
    """Return the runs of each row that are there, in the order of their seeds."""
    return [
        [
            srsly.read_json(path)
            for path in sorted(row.folder(task, work).glob(f"*/{RUN}"))
        ]
        for row in rows
    ]


def run(task: str, work: Path, gpu_id: int, row: Row, seed: int) -> Dict[str, Any]:
    """Train as `spacy train` does and evaluate, unless that was done before."""
    folder = row.folder(task, work) / f"seed{seed}"
    record = folder / RUN
    if not record.exists():
        if row.test is None:
            train_and_evaluate(row, folder, seed, gpu_id)
        else:
            in_new_process(train_and_evaluate, row, folder, seed, gpu_id)
    return srsly.read_json(record)


def train_and_evaluate(row: Row, folder: Path, seed: int, gpu_id: int) -> None:
    """Train, evaluate on the CPU, and write down what came out."""
    torch.set_num_threads(1)
    settings = row.settings(seed)
    overrides = {
        **{key: json_value(value) for key, value in settings.items()},
        "system.seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    started = time.monotonic()
    pipeline, parts = folder / row.model, {"scores": Path(settings["paths.dev"])}
    if row.test is not None:
        parts["test_scores"] = row.test
    with (folder / "train.log").open("w", encoding="utf-8") as log:
        with contextlib.redirect_stdout(log):
            train(row.config, folder, use_gpu=gpu_id, overrides=overrides)
            seconds = round(time.monotonic() - started, 1)
            scores = {
                name: evaluate(str(pipeline), path) for name, path in parts.items()
            }
    about = {
        "pipeline": row.name,
        "train_examples": row.n_train,
        "seed": seed,
        "commit": commit(),
        **({"gpu": torch.cuda.get_device_name(gpu_id)} if gpu_id >= 0 else {}),
        "processor": processor(),
        "seconds": seconds,
        "peak_mb": peak_memory(),
        "disk_mb": round(size_on_disk(pipeline) / 2**20, 1),
        "evaluated": row.model,
        "settings": {
            key: value
            for key, value in settings.items()
            if not key.startswith("paths.")
        },
    }
    srsly.write_json(folder / RUN, {**about, **scores})


def size_on_disk(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def json_value(text: str) -> Any:
    """Read a setting as the command line does: JSON, or else a plain text."""
    try:
        return srsly.json_loads(text)
    except ValueError:
        return text


def summarize(task: str, runs: Sequence[Dict[str, Any]], metric: str) -> Dict[str, Any]:
    """Return mean and spread of the runs of one row."""
    scores = [run["scores"][metric] for run in runs]
    return {
        "task": task,
        "pipeline": runs[0]["pipeline"],
        "train_examples": runs[0]["train_examples"],
        "metric": "accuracy" if metric == ACCURACY else metric,
        "mean": round(statistics.mean(scores), 4),
        "stdev": round(statistics.stdev(scores), 4) if len(scores) > 1 else 0.0,
        "scores": [round(score, 4) for score in scores],
    }


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown, with a line end at its end."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def machine() -> Dict[str, str]:
    """Return what a reader of results wants to know about the machine."""
    return {
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return the name of the machine's processor."""
    return cpu_name() or platform.machine()


def in_new_process(function: Callable[..., T], *arguments: Any) -> T:
    """Call a function in a process that has done nothing else."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def in_parallel(calls: Sequence[Callable[[], Any]], jobs: int) -> None:
    """Make calls that wait for processes of their own, some at a time.

    calls (Sequence[Callable[[], Any]]): Functions.
    jobs (int): How many at a time.
    """
    with ThreadPoolExecutor(jobs) as pool:
        for done in [pool.submit(call) for call in calls]:
            done.result()


def peak_memory() -> int:
    """Return the most memory that this process has had so far, in megabytes."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found.group(1)) // 1024 if found else 0


def commit() -> str:
    """Return the commit the code is at."""
    result = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return result.stdout.strip()


def run_program(command: List[Any]) -> None:
    """Run a program; show what it printed where it failed."""
    result = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if result.returncode:
        typer.echo(result.stdout)
        raise typer.Exit(result.returncode)


def prepare(command: str, *arguments: Any) -> None:
    """Run a command of scripts/prepare.py."""
    script = ROOT / "scripts" / "prepare.py"
    subprocess.run(
        [sys.executable, str(script), command, *map(str, arguments)], check=True
    )


def spacy_command(*arguments: Any) -> float:
    """Run a spaCy command with one thread; show its output only when it fails.

    RETURNS (float): Seconds it took.
    """
    started = time.monotonic()
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
    return round(time.monotonic() - started, 1)
