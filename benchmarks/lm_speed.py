"""Training steps of an AWD-LSTM of the published size, against fastai.

    python benchmarks/lm_speed.py compare --fastai-python PATH --data FOLDER

PATH is the Python of an environment with fastai 2; FOLDER has `wikitext-2/`. Every
variant is a process of its own, and they take one step after the other in turn, so that
what else the machine does falls on all of them. Perplexities are of the full (or the
adaptive) softmax on the same held-out tokens after the same steps. The row "products" is
no training: it takes the bare matrix products of an exact step, the least that any such
step can take on the machine.
"""

import json
import lzma
import math
import os
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Sequence, Union

import numpy
import srsly
import torch
import typer
from _runs import DATA, RESULTS, commit, machine, markdown_table
from _turns import add_ratios, take_turns

from spacy_elmo_ulmfit.cli._util import select_kernels
from spacy_elmo_ulmfit.modules import AWDLSTM, AWDLSTMConfig
from spacy_elmo_ulmfit.pretraining.batching.layout import Window
from spacy_elmo_ulmfit.pretraining.losses.objectives import Objective, create_objective
from spacy_elmo_ulmfit.pretraining.steps.gradient_step import GradientStep
from spacy_elmo_ulmfit.pretraining.steps.optimizers import (
    create_adamw,
    parameter_groups,
)
from spacy_elmo_ulmfit.pretraining.steps.precision import (
    create_scaler,
    multiplies_bfloat16,
)

FASTAI = Path(__file__).parent / "fastai_side" / "steps.py"
SETTINGS = {
    "emb_sz": 400, "n_hid": 1152, "n_layers": 3, "bptt": 72, "batch_size": 64,
    "alpha": 2.0, "beta": 1.0, "rate": 0.003,
}  # fmt: skip
UNKNOWN, PADDING, END = "<unk>", "<pad>", "<eos>"
N_DEV_STEPS = 2
PRODUCTS = "products"
CHUNK_ROWS = 256


class Variant(NamedTuple):
    """One way to take a step.

    name (str): Its row in the table.
    precision (str): Type of the large matrix products.
    n_samples (int): Words of a sampled softmax.
    cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin.
    """

    name: str
    precision: str = "float32"
    n_samples: int = 0
    cutoffs: Sequence[int] = ()


VARIANTS = (
    Variant("full"),
    Variant("sampled", n_samples=2000),
    Variant("adaptive", cutoffs=(2000, 10000)),
    Variant("bfloat16-full", "bfloat16"),
    Variant("bfloat16-sampled", "bfloat16", n_samples=2000),
    Variant("bfloat16-adaptive", "bfloat16", cutoffs=(2000, 10000)),
)

app = typer.Typer()


@app.command()
def compare(
    data: Path = DATA,
    fastai_python: Path = typer.Option(..., help="Python with fastai 2"),
    steps: int = typer.Option(8, help="Timed steps of each variant"),
    names: str = typer.Option("", help="Variants, with commas; else those that pay"),
    threads: int = typer.Option(2, help="Threads of each variant"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Time all variants in turn and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        write_tokens(data / "wikitext-2", folder, steps + 1)
        own = [sys.executable, __file__, "take-steps", folder]
        commands: Dict[str, List[Any]] = {"fastai": [fastai_python, FASTAI, folder]}
        commands.update({name: [*own, name] for name in chosen_variants(names)})
        rows = take_turns(commands, steps, threads)
    compare_with_first(rows)
    results = {
        "machine": {
            **machine(),
            "bfloat16": str(multiplies_bfloat16(torch.device("cpu"))),
        },
        "commit": commit(),
        "threads": threads,
        "load": round(os.getloadavg()[1], 1),
        "settings": SETTINGS,
        "rows": rows,
    }
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "lm-speed.json", results)
    table = format_table(results)
    (output / "lm-speed.md").write_text(table, encoding="utf-8")
    typer.echo(table)


@app.command()
def take_steps(folder: Path, name: str) -> None:
    """Take one step for each line on standard input; print what it took."""
    # Kernels are chosen as in a command.
    select_kernels(-1)
    if name == PRODUCTS:
        trainer: Union[_Products, _Trainer] = _Products(folder)
    else:
        variant = next(variant for variant in VARIANTS if variant.name == name)
        trainer = _Trainer(folder, variant)
    print(json.dumps({}), flush=True)
    for number, _ in enumerate(sys.stdin):
        started, busy = time.perf_counter(), time.process_time()
        loss = trainer.step(number)
        seconds = time.perf_counter() - started
        busy = time.process_time() - busy
        step = {"seconds": seconds, "cpu_seconds": busy, "loss": loss}
        print(json.dumps(step), flush=True)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    last = {"peak_mb": kilobytes / 1024}
    if isinstance(trainer, _Trainer):
        last["dev_perplexity"] = trainer.perplexity()
    print(json.dumps(last), flush=True)


class _Products:
    """The matrix products of an exact step, forward and backward, and nothing else."""

    def __init__(self, folder: Path) -> None:
        settings = srsly.read_json(folder / "settings.json")
        self.bptt, self.batch_size = settings["bptt"], settings["batch_size"]
        n_layers, hidden = settings["n_layers"], settings["n_hid"]
        widths = [settings["emb_sz"], *[hidden] * (n_layers - 1), settings["emb_sz"]]
        self.layers = [
            (torch.rand(4 * n_out, n_in), torch.rand(4 * n_out, n_out))
            for n_in, n_out in zip(widths, widths[1:])
        ]
        self.softmax = torch.rand(settings["n_words"], settings["emb_sz"])
        weights = [self.softmax, *(weight for layer in self.layers for weight in layer)]
        self.gradients = {weight.shape: torch.zeros_like(weight) for weight in weights}

    @torch.no_grad()
    def step(self, number: int) -> float:
        """Multiply; there is no loss."""
        for inputs, recurrent in self.layers:
            self._linear(inputs, self.bptt * self.batch_size)
            for _ in range(self.bptt):
                self._linear(recurrent, self.batch_size, weight_gradient=False)
            # The gradient of the recurrent weights is one product over all steps.
            self._weight_gradient(recurrent, self.bptt * self.batch_size)
        # In chunks, as a softmax that saves memory.
        for _ in range(self.bptt * self.batch_size // CHUNK_ROWS):
            self._linear(self.softmax, CHUNK_ROWS)
        return 0.0

    def _linear(
        self, weight: torch.Tensor, n_rows: int, weight_gradient: bool = True
    ) -> None:
        n_out, n_in = weight.shape
        torch.mm(torch.ones(n_rows, n_in), weight.T)
        torch.mm(torch.ones(n_rows, n_out), weight)
        if weight_gradient:
            self._weight_gradient(weight, n_rows)

    def _weight_gradient(self, weight: torch.Tensor, n_rows: int) -> None:
        n_out, n_in = weight.shape
        gradient = self.gradients[weight.shape]
        gradient.addmm_(torch.ones(n_rows, n_out).T, torch.ones(n_rows, n_in))


class _Trainer:
    """What `lm pretrain` does in each step, by the same parts."""

    def __init__(self, folder: Path, variant: Variant) -> None:
        self.settings = srsly.read_json(folder / "settings.json")
        torch.manual_seed(0)
        n_words = self.settings["n_words"]
        config = AWDLSTMConfig(
            n_words,
            self.settings["emb_sz"],
            self.settings["n_hid"],
            self.settings["n_layers"],
            softmax_cutoffs=variant.cutoffs,
        )
        self.module = AWDLSTM(config)
        self.train, self.dev = (
            numpy.load(folder / f"{part}.npy") for part in ("train", "dev")
        )
        dtype = getattr(torch, variant.precision)
        self.objective = self._objective(dtype, variant.n_samples)
        self.state = self.objective.zero_state(len(self.train))
        groups = parameter_groups(self.module, 1.0)
        self.gradients = GradientStep(
            self.module,
            create_adamw(beta1=0.9)(groups),
            max_norm=0.0,
            scaler=create_scaler(dtype, self.objective.device),
        )

    def step(self, number: int) -> float:
        """Learn from a window; return its mean loss."""
        self.module.train()
        window = self._window(self.train, number)
        result = self.objective.step(window, self.state)
        self.state = result.state
        loss = result.losses.sum()
        self.gradients.add(loss, result.penalty, result.n_targets)
        self.gradients.take(self.settings["rate"])
        return float(loss.detach()) / result.n_targets

    @torch.no_grad()
    def perplexity(self) -> float:
        """Return the perplexity of the held-out tokens."""
        self.module.eval()
        objective = self._objective(torch.float32, 0)
        state, losses, n_targets = objective.zero_state(len(self.dev)), 0.0, 0
        for number in range(N_DEV_STEPS):
            result = objective.step(self._window(self.dev, number), state)
            state = result.state
            losses += float(result.losses.sum())
            n_targets += result.n_targets
        return math.exp(losses / n_targets)

    def _objective(self, dtype: torch.dtype, n_samples: int) -> Objective:
        return create_objective(
            self.module,
            dtype=dtype,
            alpha=self.settings["alpha"],
            beta=self.settings["beta"],
            n_samples=n_samples,
        )

    def _window(self, rows: numpy.ndarray, number: int) -> Window:
        width = self.settings["bptt"]
        start = number * width
        inputs, targets = (
            rows[None, :, first : first + width] for first in (start, start + 1)
        )
        return Window(inputs, targets)


def chosen_variants(names: str) -> List[str]:
    """Return the variants named, or those whose precision the machine multiplies."""
    if not names:
        fast = multiplies_bfloat16(torch.device("cpu"))
        usable = [v.name for v in VARIANTS if fast or v.precision == "float32"]
        return [*usable, PRODUCTS]
    known = [*(variant.name for variant in VARIANTS), PRODUCTS]
    chosen = names.split(",")
    for name in chosen:
        if name not in known:
            raise typer.BadParameter(f"{name} is none of: {', '.join(known)}.")
    return chosen


def write_tokens(data: Path, folder: Path, n_steps: int) -> None:
    """Number the words of WikiText-2 by falling frequency and cut rows of them."""
    words = {
        part: list(read_words(data / f"{part}.txt.xz")) for part in ("train", "valid")
    }
    counts = Counter(words["train"])
    specials = [UNKNOWN, PADDING]
    common = [word for word, _ in counts.most_common() if word not in specials]
    ids = {word: number for number, word in enumerate([*specials, *common])}
    for part, name, n in (
        ("train", "train", n_steps + 1),
        ("valid", "dev", N_DEV_STEPS),
    ):
        length = n * SETTINGS["bptt"] + 1
        size = int(SETTINGS["batch_size"] * length)
        numbers = [ids.get(word, 0) for word in words[part][:size]]
        rows = numpy.array(numbers).reshape(int(SETTINGS["batch_size"]), int(length))
        numpy.save(folder / f"{name}.npy", rows)
    srsly.write_json(folder / "settings.json", {**SETTINGS, "n_words": len(ids)})


def read_words(path: Path) -> Iterable[str]:
    """Yield the words of a text, with a mark at the end of each line."""
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield from line.split()
            yield END


def compare_with_first(rows: Sequence[Dict[str, Any]]) -> None:
    """Add to each row how it compares with the first one."""
    n_tokens = SETTINGS["batch_size"] * SETTINGS["bptt"]
    add_ratios(rows)
    for row in rows:
        row["train_loss"] = row.pop("loss")
        row["tokens_per_second"] = n_tokens / statistics.median(row["seconds"])
        row["memory_ratio"] = row["peak_mb"] / rows[0]["peak_mb"]


def format_table(results: Dict[str, Any]) -> str:
    """Return the table with what it was measured on."""
    header = [
        "", "tokens/s", "times as fast", "by CPU time", "peak memory", "of fastai's",
        "dev perplexity",
    ]  # fmt: skip
    rows = [
        [
            row["variant"],
            f"{row['tokens_per_second']:,.0f}",
            f"{row['seconds_ratio']:.2f}",
            f"{row['cpu_seconds_ratio']:.2f}",
            f"{row['peak_mb']:,.0f} MB",
            f"{row['memory_ratio']:.2f}",
            f"{row['dev_perplexity']:,.0f}" if "dev_perplexity" in row else "",
        ]
        for row in results["rows"]
    ]
    steps = len(results["rows"][0]["seconds"])
    return (
        f"{results['threads']} threads, torch {results['machine']['torch']}; the processor "
        f"multiplies bfloat16: {results['machine']['bfloat16']}. Medians of {steps} steps "
        f"taken in turn, load of the machine {results['load']}: where that is above the "
        f"threads, only CPU time counts, and tokens/s say little.\n\n{markdown_table(header, rows)}"
    )


if __name__ == "__main__":
    app()
