"""Two processes against one: the same losses, and what a killed process leaves.

    python benchmarks/workers.py

A small biLM and a small AWD-LSTM are trained on made-up text by one process and by two
that `torchrun` starts, with the same rows, evaluating after every step. Then one of two
processes is killed by SIGKILL, and one alone goes on from the last checkpoint. Results go
to benchmarks/results/workers.{md,json}. Linux only: it asks /proc for the processes.
"""

import os
import random
import signal
import subprocess
from pathlib import Path
from typing import Any, Dict, List, Tuple

import srsly
import typer
from _lm_runs import Kind, Run, compare_kinds

SETTINGS: Dict[str, Any] = {
    "corpora.dev.limit": 20,
    "lm.eval_frequency": 1,
    "lm.checkpoint_frequency": 5,
    "lm.reset_probability": 0.1,
    # Each process drops other units.
    "lm.drop_mult": 0.0,
    "lm.precision": "float32",
}
HEADER = (
    "model",
    "steps",
    "largest difference of losses",
    "of perplexities",
    "killed after step",
    "resumed from",
    "difference after it",
)
Losses = Dict[int, Tuple[float, float]]


def main(
    steps: int = typer.Option(50, help="Steps of each run"),
    seed: int = typer.Option(0, help="Seed of the moment of the kill"),
) -> None:
    """Run both kinds of model with one and two processes, write the table."""
    moments = random.Random(seed)

    def compare_kind(kind: Kind, folder: Path) -> Dict[str, Any]:
        return {"steps": steps, **compare(kind, folder, steps, moments)}

    compare_kinds("workers", compare_kind, HEADER, row)


def compare(
    kind: Kind, folder: Path, steps: int, moments: random.Random
) -> Dict[str, Any]:
    """Compare the losses of one process, of two, and of two of which one is killed."""
    settings = {**SETTINGS, "lm.max_steps": steps}
    one, two, killed = (
        Run(kind, folder, name, settings) for name in ("one", "two", "killed")
    )
    one.finish()
    two.finish(n_processes=2)
    step = moments.randrange(steps // 5, steps // 2)
    kill_worker(killed, step)
    seen, resumed = max(losses(killed)), killed.saved_step()
    killed.finish()
    expected = losses(one)
    together, alone = (
        largest_difference(expected, losses(run)) for run in (two, killed)
    )
    return {
        "difference": together,
        "killed_after": seen,
        "resumed_from": resumed,
        "difference_after_kill": alone,
    }


def kill_worker(run: Run, step: int) -> None:
    """Start two processes and kill the second one after a step."""
    process = run.start(n_processes=2)
    run.wait(process, run.rows.exists)
    run.wait(process, lambda: max(losses(run), default=0) >= step)
    os.kill(max(children(process)), signal.SIGKILL)
    if not process.wait():
        raise SystemExit("torchrun did not notice that a process was killed.")


def children(process: "subprocess.Popen[bytes]") -> List[int]:
    """Return the numbers of the processes that a process started."""
    path = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    return [int(number) for number in path.read_text(encoding="utf-8").split()]


def losses(run: Run) -> Losses:
    """Return training loss and held-out perplexity after each step."""
    lines = run.rows.read_text(encoding="utf-8").splitlines()
    rows = [srsly.json_loads(line) for line in lines if line.endswith("}")]
    return {row["step"]: (row.get("loss", 0.0), row["perplexity"]) for row in rows}


def largest_difference(first: Losses, second: Losses) -> List[float]:
    """Return the largest relative differences of losses and of perplexities."""
    if first.keys() != second.keys():
        raise SystemExit("The runs have different numbers of steps.")
    pairs = [(first[step], second[step]) for step in first if step]
    return [
        max(abs(one[i] - other[i]) / abs(one[i]) for one, other in pairs)
        for i in range(2)
    ]


def row(result: Dict[str, Any]) -> List[str]:
    """Return a row of the table."""
    return [
        result["kind"],
        str(result["steps"]),
        *(f"{difference:.1e}" for difference in result["difference"]),
        str(result["killed_after"]),
        str(result["resumed_from"]),
        f"{max(result['difference_after_kill']):.1e}",
    ]


if __name__ == "__main__":
    typer.run(main)
