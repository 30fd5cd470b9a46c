"""Small runs of `spacy lm pretrain` on made-up text, for benchmarks that end them early."""

import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import srsly
import torch
from _runs import RESULTS, commit, config_file, machine, markdown_table
from safetensors.torch import load_file
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import (
    CHECKPOINTS,
    checkpoint_files,
)

# What all of these runs have in common.
SHARED: Dict[str, Any] = {
    "lm.batch_size": 8,
    "lm.bptt": 10,
    "lm.min_freq": 1,
    "lm.logger.progress_bar": "false",
}
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


class Run:
    """A run of `spacy lm pretrain` that is started as often as it is killed.

    kind (Kind): The language model.
    folder (Path): Where text and output are.
    name (str): Name of the output.
    settings (Dict[str, Any]): Settings by their names in the config.
    """

    def __init__(
        self, kind: Kind, folder: Path, name: str, settings: Dict[str, Any]
    ) -> None:
        self.kind = kind
        self.output, self.log = folder / name, folder / f"{name}.log"
        self.rows = folder / f"{name}.jsonl"
        settings = {**SHARED, **settings}
        settings["lm.logger.output_file"] = self.rows
        sizes = {**kind.sizes, "storage": "float32"}
        for key, value in sizes.items():
            settings[f"components.{kind.component}.model.{key}"] = value
        for part in ("train", "dev"):
            settings[f"paths.{part}"] = folder / f"{part}.txt"
        overrides = [
            str(x) for key, value in settings.items() for x in (f"--{key}", value)
        ]
        self.command = ["spacy", "lm", "pretrain", str(config_file(kind.config))]
        self.command += ["-o", str(self.output), *overrides]

    def start(self, n_processes: int = 1) -> "subprocess.Popen[bytes]":
        """Start the run, or go on with it where there is a checkpoint.

        n_processes (int): Processes that train together; torchrun starts several.
        """
        resume = ["--resume"] * bool(checkpoint_files(self.output))
        torchrun = ["torch.distributed.run", "--standalone", "--nproc-per-node"]
        launch = [*torchrun, str(n_processes), "-m"] if n_processes > 1 else []
        with self.log.open("wb") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *launch, *self.command, *resume],
                stdout=log,
                stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )

    def finish(self, n_processes: int = 1) -> None:
        """Run to the end."""
        if self.start(n_processes).wait():
            raise SystemExit(f"Not resumed:\n{self.log.read_text(encoding='utf-8')}")

    def weights(self) -> Dict[str, torch.Tensor]:
        """Return the final weights."""
        folder = self.output / "model-last" / self.kind.component
        return load_file(folder / "model.safetensors")

    def saved_step(self) -> int:
        """Return the steps of the newest checkpoint."""
        files = checkpoint_files(self.output)
        return int(files[0].stem) if files else 0

    def trains(self) -> bool:
        """Return whether training has begun."""
        # The head of the table is printed before the first step.
        return b"DEV PPL" in self.log.read_bytes()

    def writes(self) -> bool:
        """Return whether a checkpoint is being written, or was when the run was killed."""
        return any((self.output / CHECKPOINTS).glob("*.tmp"))

    def wait(
        self,
        process: "subprocess.Popen[bytes]",
        condition: Callable[[], bool],
        pause: float = 0.01,
    ) -> None:
        """Wait until a condition holds for the running process."""
        while not condition():
            time.sleep(pause)
            if process.poll() is not None:
                raise SystemExit(
                    f"Ended too early:\n{self.log.read_text(encoding='utf-8')}"
                )


def compare_kinds(
    name: str,
    compare: Callable[[Kind, Path], Dict[str, Any]],
    header: Sequence[str],
    row: Callable[[Dict[str, Any]], List[str]],
) -> None:
    """Compare runs of both kinds of model, write and print the table.

    name (str): Name of the result files.
    compare (Callable): Takes a kind and a folder with text.
    header (Sequence[str]): Titles of the columns.
    row (Callable): Returns the cells of a result.
    """
    results = []
    for kind_name, kind in KINDS.items():
        with tempfile.TemporaryDirectory() as folder:
            for number, part in enumerate(("train", "dev")):
                write_text(Path(folder) / f"{part}.txt", number)
            results.append({"kind": kind_name, **compare(kind, Path(folder))})
        msg.info(f"{results[-1]}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    record = {"machine": machine(), "commit": commit(), "kinds": results}
    srsly.write_json(RESULTS / f"{name}.json", record)
    table = markdown_table(header, [row(result) for result in results])
    (RESULTS / f"{name}.md").write_text(table, encoding="utf-8")
    print(table)


def write_text(path: Path, seed: int) -> None:
    """Write lines of made-up words."""
    source = random.Random(seed)
    words = [f"word{i}" for i in range(N_WORDS)]
    chances = [1 / (i + 1) for i in range(N_WORDS)]
    lines = [
        " ".join(source.choices(words, chances, k=LINE_LENGTH)) for _ in range(N_LINES)
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
