"""Pretraining killed at random moments, against the same run that nobody killed.

    python benchmarks/resume.py

A small biLM and a small AWD-LSTM are trained by `spacy lm pretrain` on made-up text. The
same run is then killed by SIGKILL ten times and resumed each time: at any moment, and,
every other time, while a checkpoint is being written. At the end the weights of both
runs are compared bit for bit. Results go to benchmarks/results/resume.{md,json}.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import srsly
import torch
import typer
from _runs import RESULTS, commit, config_file, machine, markdown_table
from safetensors.torch import load_file
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.checkpoint import CHECKPOINTS, checkpoint_files

LM: Dict[str, Any] = {
    "max_steps": 1500,
    "eval_frequency": 150,
    "checkpoint_frequency": 10,
    "keep_checkpoints": 2,
    "batch_size": 8,
    "bptt": 10,
    "min_freq": 1,
    "drop_mult": 1.0,
    "logger.progress_bar": "false",
}
# Seconds between a step and the kill that is to come after it.
LONGEST_DELAY = 0.2
# Text is made of so many words, the first ones much more often.
N_WORDS, N_LINES, LINE_LENGTH = 2000, 400, 15


class Kind(NamedTuple):
    """A kind of language model, small.

    component (str): Its component.
    config (str): Name of its config.
    sizes (Dict[str, Any]): Settings of its model.
    """

    component: str
    config: str
    sizes: Dict[str, Any]


KINDS = {
    "biLM": Kind(
        "elmo_tok2vec",
        "bilm",
        {"cell_dim": 64, "projection_dim": 32, "filters": "[[1,16],[2,16],[3,32]]"},
    ),
    "AWD-LSTM": Kind(
        "awd_lstm_tok2vec", "awd_lstm", {"embedding_dim": 32, "hidden_dim": 64}
    ),
}


class Kill(NamedTuple):
    """A kill and what it found.

    aim (str): When it was to come.
    step (int): Step of the last whole checkpoint.
    in_write (bool): Whether a checkpoint was being written.
    """

    aim: str
    step: int
    in_write: bool


class Run:
    """A run of `spacy lm pretrain` that is started as often as it is killed.

    kind (Kind): The language model.
    folder (Path): Where text and output are.
    name (str): Name of the output.
    """

    def __init__(self, kind: Kind, folder: Path, name: str) -> None:
        self.kind = kind
        self.output, self.log = folder / name, folder / f"{name}.log"
        settings = {f"lm.{key}": value for key, value in LM.items()}
        sizes = {**kind.sizes, "storage": "float32"}
        for key, value in sizes.items():
            settings[f"components.{kind.component}.model.{key}"] = value
        for part in ("train", "dev"):
            settings[f"paths.{part}"] = folder / f"{part}.txt"
        overrides = [
            str(x) for key, value in settings.items() for x in (f"--{key}", value)
        ]
        self.command = [sys.executable, "-m", "spacy", "lm", "pretrain"]
        self.command += [
            str(config_file(kind.config)),
            "-o",
            str(self.output),
            *overrides,
        ]

    def start(self) -> "subprocess.Popen[bytes]":
        """Start the run, or go on with it where there is a checkpoint."""
        resume = ["--resume"] * bool(checkpoint_files(self.output))
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [*self.command, *resume],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def finish(self) -> None:
        """Run to the end."""
        if self.start().wait():
            raise SystemExit(f"Not resumed:\n{self.log.read_text(encoding='utf-8')}")

    def kill(self, step: float, delay: float, *, in_write: bool) -> Kill:
        """Start the run and kill it, some seconds after a step."""
        process = self.start()
        self._wait(process, self._trains)
        self._wait(process, lambda: self._saved_step() >= step)
        time.sleep(delay)
        if in_write:
            # Without a pause, which may be longer than the writing.
            self._wait(process, self._writes, pause=0.0)
        process.send_signal(signal.SIGKILL)
        process.wait()
        return Kill(
            aim="in a checkpoint's writing" if in_write else "any moment",
            step=self._saved_step(),
            in_write=self._writes(),
        )

    def weights(self) -> Dict[str, torch.Tensor]:
        """Return the final weights."""
        folder = self.output / "model-last" / self.kind.component
        return load_file(folder / "model.safetensors")

    def _saved_step(self) -> int:
        files = checkpoint_files(self.output)
        return int(files[0].stem) if files else 0

    def _trains(self) -> bool:
        # The head of the table is printed before the first step.
        return b"DEV PPL" in self.log.read_bytes()

    def _writes(self) -> bool:
        return any((self.output / CHECKPOINTS).glob("*.tmp"))

    def _wait(
        self,
        process: "subprocess.Popen[bytes]",
        condition: Callable[[], bool],
        pause: float = 0.01,
    ) -> None:
        while not condition():
            time.sleep(pause)
            if process.poll() is not None:
                raise SystemExit(
                    f"Ended too early:\n{self.log.read_text(encoding='utf-8')}"
                )


def main(
    kills: int = typer.Option(10, help="Kills per kind of language model"),
    seed: int = typer.Option(0, help="Seed of the moments"),
) -> None:
    """Kill and resume runs of both kinds, compare weights, write the table."""
    moments, results = random.Random(seed), []
    for name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            results.append(
                {"kind": name, **compare(kind, Path(folder), kills, moments)}
            )
        msg.info(f"{name}: equal bit for bit: {results[-1]['equal']}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine(), "commit": commit(), "kinds": results}
    srsly.write_json(RESULTS / "resume.json", record)
    table = markdown_table(HEADER, [row(result) for result in results])
    (RESULTS / "resume.md").write_text(table, encoding="utf-8")
    print(table)


def compare(
    kind: Kind, folder: Path, kills: int, moments: random.Random
) -> Dict[str, Any]:
    """Run to the end twice, killed in one of the runs, and compare the weights."""
    for number, part in enumerate(("train", "dev")):
        write_text(folder / f"{part}.txt", number)
    whole, killed = Run(kind, folder, "whole"), Run(kind, folder, "killed")
    whole.finish()
    found: List[Kill] = []
    for number in range(kills):
        # All over the run, so that each resumed one has something left to do.
        step = LM["max_steps"] * (number + moments.random()) / (kills + 1)
        delay = moments.uniform(0.0, LONGEST_DELAY)
        found.append(killed.kill(step, delay, in_write=number % 2 == 1))
        msg.text(f"{found[-1]}")
    killed.finish()
    weights, others = whole.weights(), killed.weights()
    return {
        "steps": LM["max_steps"],
        "tensors": len(weights),
        "weights": sum(tensor.numel() for tensor in weights.values()),
        "equal": weights.keys() == others.keys()
        and all(torch.equal(weights[name], others[name]) for name in weights),
        "kills": [kill._asdict() for kill in found],
    }


HEADER = ("model", "steps", "killed after step", "of these in a write", "equal weights")


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


def write_text(path: Path, seed: int) -> None:
    """Write lines of made-up words."""
    source = random.Random(seed)
    words = [f"word{i}" for i in range(N_WORDS)]
    chances = [1 / (i + 1) for i in range(N_WORDS)]
    lines = [
        " ".join(source.choices(words, chances, k=LINE_LENGTH)) for _ in range(N_LINES)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
