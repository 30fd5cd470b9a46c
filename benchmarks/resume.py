"""Pretraining killed at random moments, against the same run that nobody killed.

    python benchmarks/resume.py

A small biLM and a small AWD-LSTM are trained by `spacy lm pretrain` on made-up text. The
same run is then killed by SIGKILL ten times and resumed each time: at any moment, and,
every other time, while a checkpoint is being written. At the end the weights of both
runs are compared bit for bit. Results go to benchmarks/results/resume.{md,json}.
"""

import random
import signal
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import torch
import typer
from _lm_runs import Kind, Run, compare_kinds
from wasabi import msg

SETTINGS: Dict[str, Any] = {
    "lm.max_steps": 1500,
    "lm.eval_frequency": 150,
    "lm.checkpoint_frequency": 10,
    "lm.keep_checkpoints": 2,
    "lm.drop_mult": 1.0,
}
HEADER = ("model", "steps", "killed after step", "of these in a write", "equal weights")
# Seconds between a step and the kill that is to come after it.
LONGEST_DELAY = 0.2


class Kill(NamedTuple):
    """A kill and what it found.

    aim (str): When it was to come.
    step (int): Step of the last whole checkpoint.
    in_write (bool): Whether a checkpoint was being written.
    """

    aim: str
    step: int
    in_write: bool


def main(
    kills: int = typer.Option(10, help="Kills per kind of language model"),
    seed: int = typer.Option(0, help="Seed of the moments"),
) -> None:
    """Kill and resume runs of both kinds, compare weights, write the table."""
    moments = random.Random(seed)

    def compare_kind(kind: Kind, folder: Path) -> Dict[str, Any]:
        return compare(kind, folder, kills, moments)

    compare_kinds("resume", compare_kind, HEADER, row)


def compare(
    kind: Kind, folder: Path, kills: int, moments: random.Random
) -> Dict[str, Any]:
    """Run to the end twice, killed in one of the runs, and compare the weights."""
    whole, killed = (Run(kind, folder, name, SETTINGS) for name in ("whole", "killed"))
    whole.finish()
    found: List[Kill] = []
    for number in range(kills):
        # All over the run, so that each resumed one has something left to do.
        step = SETTINGS["lm.max_steps"] * (number + moments.random()) / (kills + 1)
        delay = moments.uniform(0.0, LONGEST_DELAY)
        found.append(kill(killed, step, delay, in_write=number % 2 == 1))
        msg.text(f"{found[-1]}")
    killed.finish()
    weights, others = whole.weights(), killed.weights()
    return {
        "steps": SETTINGS["lm.max_steps"],
        "tensors": len(weights),
        "weights": sum(tensor.numel() for tensor in weights.values()),
        "equal": weights.keys() == others.keys()
        and all(torch.equal(weights[name], others[name]) for name in weights),
        "kills": [one._asdict() for one in found],
    }


def kill(run: Run, step: float, delay: float, *, in_write: bool) -> Kill:
    """Start the run and kill it, some seconds after a step."""
    process = run.start()
    run.wait(process, run.trains)
    run.wait(process, lambda: run.saved_step() >= step)
    time.sleep(delay)
    if in_write:
        # Without a pause, which may be longer than the writing.
        run.wait(process, run.writes, pause=0.0)
    process.send_signal(signal.SIGKILL)
    process.wait()
    return Kill(
        aim="in a checkpoint's writing" if in_write else "any moment",
        step=run.saved_step(),
        in_write=run.writes(),
    )


def row(result: Dict[str, Any]) -> List[str]:
    """Return a row of the table."""
    kills = result["kills"]
    n_weights = f"{result['weights']:,}"
    return [
        result["kind"],
        str(result["steps"]),
        ", ".join(str(kill["step"]) for kill in kills),
        f"{sum(kill['in_write'] for kill in kills)} of {len(kills)}",
        f"all {n_weights}, bit for bit" if result["equal"] else "no",
    ]


if __name__ == "__main__":
    typer.run(main)
