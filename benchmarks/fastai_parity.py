"""How exactly AWD-LSTM and classifier compute what fastai computes.

    python benchmarks/fastai_parity.py --fastai-python PATH

PATH is the Python of an environment with fastai 2. It makes models with random weights,
small ones and of the published sizes, and computes outputs, losses and gradients; the same
weights are read here. Exits with 1 if anything differs by more than 1e-5.
"""

import json
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import numpy
import srsly
import torch
import torch.nn.functional as F
import typer
from torch import Tensor

from spacy_elmo_ulmfit.checkpoints.fastai import FastaiModel, read_fastai
from spacy_elmo_ulmfit.modules import AWDLSTM, ClassifierConfig, ULMFiTClassifier
from spacy_elmo_ulmfit.modules.awd_lstm import AWDLSTMConfig
from spacy_elmo_ulmfit.pretraining.batching.layout import Window
from spacy_elmo_ulmfit.pretraining.losses.objectives import AWDLSTMObjective
from spacy_elmo_ulmfit.pretraining.losses.word_losses import SoftmaxLoss

RESULTS = Path(__file__).parent / "results"
PROGRAM = Path(__file__).parent / "fastai_side" / "parity.py"
TOLERANCE = 1e-5
N_WINDOWS = 3
# What says something about fastai, not about the difference from it.
OTHERS = ("fastai",)
DROPOUTS = (
    "input_dropout",
    "hidden_dropout",
    "output_dropout",
    "embedding_dropout",
    "weight_dropout",
)
NOTES = """\
Dropouts are off. Gradients are of the mean cross-entropy with AR and TAR: of the language
model in its third window, of the classifier in training on documents of one length, longer
than `max_len`, with the statistics of the batch in its batch norms.

A document alone has the same windows in both. Here it has them in every batch: windows start
at multiples of `bptt` from its own start, and `max_len` counts from its own end. In fastai a
batch is padded by whole windows in front and by the rest behind; `max_len` counts from the end
of the padded batch, and of the rows that go on in a window it takes the first so many, which
need not be those that have words there. So its scores depend on the neighbours. fastai 2 has no
QRNN to compare with.
"""

Arrays = Mapping[str, Any]


class Difference(NamedTuple):
    """How far apart two arrays are.

    largest (float): Largest absolute difference.
    magnitude (float): Largest absolute value of what was expected.
    """

    largest: float
    magnitude: float


Differences = Dict[str, Difference]


def main(
    fastai_python: Path = typer.Option(..., help="Python with fastai 2"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Compare both sizes and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        subprocess.run([str(fastai_python), str(PROGRAM), directory], check=True)
        made = json.loads((folder / "parity.json").read_text("utf-8"))
        results = {name: compare(folder, name, made) for name in made["sizes"]}
    described = {
        name: {row: value._asdict() for row, value in differences.items()}
        for name, differences in results.items()
    }
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "fastai-parity.json", {**made, "results": described})
    table = format_table(made, results)
    (output / "fastai-parity.md").write_text(table, encoding="utf-8")
    typer.echo(table)
    if any(value.largest > TOLERANCE for _, value in measured(results)):
        raise typer.Exit(1)


def compare(folder: Path, name: str, made: Dict[str, Any]) -> Differences:
    """Compare everything of one size."""
    expected = numpy.load(folder / f"{name}.npz")
    return {
        **compare_language_model(folder, name, made, expected),
        **compare_classifier(folder, name, made, expected),
    }


def compare_language_model(
    folder: Path, name: str, made: Dict[str, Any], expected: Arrays
) -> Differences:
    """Compare layers, logits and states over windows; loss and gradients of the last."""
    imported = read(folder / f"{name}_lm.pth")
    module = AWDLSTM(without_dropout(imported.config))
    bias = imported.decoder_bias
    assert bias is not None
    module.load_state_dict({**imported.encoder, "decoder_bias": bias})
    module.train()
    n_steps, n_layers = (made["sizes"][name][key] for key in ("n_steps", "n_layers"))
    ids, state, gaps = expected["ids"], None, Gaps()
    for number in range(N_WINDOWS):
        before = state
        window = ids[:, number * n_steps : (number + 1) * n_steps]
        with torch.no_grad():
            logits, outputs, state = module(torch.from_numpy(window), state)
        gaps.add("logits", logits, expected[f"logits_{number}"])
        for layer in range(n_layers):
            key = f"{number}_{layer}"
            gaps.add("output of each layer", outputs[layer], expected[f"output_{key}"])
            for part, wanted in zip(state[layer], ("hidden", "cell")):
                gaps.add("carried state", part, expected[f"{wanted}_{key}"])
    objective = AWDLSTMObjective(
        module,
        SoftmaxLoss(module, torch.float32),
        dtype=torch.float32,
        alpha=made["alpha"],
        beta=made["beta"],
    )
    targets = ids[:, -n_steps:]
    result = objective.step(Window(window[None], targets[None]), before)
    loss = result.losses.sum() / result.n_targets + result.penalty
    loss.backward()
    gaps.add("loss", loss.detach(), expected["lm_loss"])
    wanted = read(folder / f"{name}_lm_gradients.pth")
    assert wanted.decoder_bias is not None
    expected_gradients = {**wanted.encoder, "decoder_bias": wanted.decoder_bias}
    for parameter, value in gradients(module):
        gaps.add("gradients", value, expected_gradients[parameter])
    return {f"language model: {row}": gap for row, gap in gaps.largest.items()}


def compare_classifier(
    folder: Path, name: str, made: Dict[str, Any], expected: Arrays
) -> Differences:
    """Compare scores of documents alone, the head, and a step of training."""
    size = made["sizes"][name]
    module = classifier(read(folder / f"{name}_classifier.pth"), made, size).eval()
    documents = torch.from_numpy(expected["documents"]).split(size["lengths"])
    gaps = Gaps()
    with torch.no_grad():
        alone = torch.cat([module(ids, [len(ids)]) for ids in documents])
        together = module(torch.cat(documents), size["lengths"])
        head = module.head(torch.from_numpy(expected["pooled"]))
    is_long = torch.tensor(size["lengths"]) > size["max_len"]
    fastai_alone = torch.from_numpy(expected["alone"])
    for words, chosen in (("", ~is_long), (" longer than max_len", is_long)):
        row = f"single documents{words}"
        gaps.add(f"logits of {row}", alone[chosen], fastai_alone[chosen])
        found, wanted = (t[chosen].softmax(dim=1) for t in (alone, fastai_alone))
        gaps.add(f"scores of {row}", found, wanted)
    gaps.add("logits of the head", head, expected["head"])
    gaps.add("logits in one batch and alone, here", together, alone)
    gaps.add(
        "logits in one batch and alone, fastai", expected["together"], fastai_alone
    )
    training = torch.from_numpy(expected["training"])
    module.train()
    lengths = [training.shape[1]] * len(training)
    logits, penalty = module.classify(training.flatten(), lengths)
    labels = torch.arange(len(training)) % logits.shape[1]
    loss = F.cross_entropy(logits, labels) + penalty
    loss.backward()
    gaps.add("logits in training", logits.detach(), expected["training_logits"])
    gaps.add("loss", loss.detach(), expected["classifier_loss"])
    wanted = read(folder / f"{name}_classifier_gradients.pth")
    assert wanted.head is not None
    expected_gradients = {
        **{f"encoder.{key}": value for key, value in wanted.encoder.items()},
        **{f"head.{key}": value for key, value in wanted.head.state.items()},
    }
    for parameter, value in gradients(module):
        # fastai's linear layers have no bias.
        if "linears" not in parameter or parameter.endswith("weight"):
            gaps.add("gradients", value, expected_gradients[parameter])
    return {f"classifier: {row}": gap for row, gap in gaps.largest.items()}


class Gaps:
    """The largest differences by name."""

    def __init__(self) -> None:
        self.largest: Differences = {}

    def add(self, name: str, found: Any, expected: Any) -> None:
        """Compare two arrays."""
        found, expected = numpy.asarray(found), numpy.asarray(expected)
        if found.shape != expected.shape:
            raise ValueError(f"{name}: {found.shape} here, {expected.shape} in fastai.")
        old = self.largest.get(name, Difference(0.0, 0.0))
        self.largest[name] = Difference(
            max(old.largest, float(numpy.abs(found - expected).max())),
            max(old.magnitude, float(numpy.abs(expected).max())),
        )


def read(path: Path) -> FastaiModel:
    """Read a model that fastai saved, or gradients saved like one."""
    return read_fastai(torch.load(path, weights_only=True), path.name)


def without_dropout(config: AWDLSTMConfig) -> AWDLSTMConfig:
    """Return the same sizes with all dropouts off."""
    dropouts: Dict[str, Any] = dict.fromkeys(DROPOUTS, 0.0)
    return replace(config, **dropouts)


def classifier(
    imported: FastaiModel, made: Dict[str, Any], size: Dict[str, Any]
) -> ULMFiTClassifier:
    """Build a classifier of what was read."""
    assert imported.head is not None
    encoder = replace(without_dropout(imported.config), decoder=False)
    config = ClassifierConfig(
        n_labels=imported.head.n_labels,
        hidden_dim=imported.head.hidden_dim,
        head_dropout=0.0,
        hidden_dropout=0.0,
        bptt=size["seq_len"],
        max_len=size["max_len"],
        alpha=made["alpha"],
        beta=made["beta"],
    )
    module = ULMFiTClassifier(encoder, config)
    module.encoder.load_state_dict(imported.encoder)
    module.head.load_state_dict(imported.head.state)
    return module


def gradients(module: torch.nn.Module) -> Iterator[Tuple[str, Tensor]]:
    """Yield the name and the gradient of each parameter."""
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None
        yield name, parameter.grad


def measured(results: Dict[str, Differences]) -> List[Tuple[str, Difference]]:
    """Return the rows that must not differ."""
    return [
        (row, value)
        for differences in results.values()
        for row, value in differences.items()
        if not row.endswith(OTHERS)
    ]


def format_table(made: Dict[str, Any], results: Dict[str, Differences]) -> str:
    """Return the results as Markdown."""
    versions, sizes = made["versions"], made["sizes"]
    described = [
        f"{name}: embedding {size['emb_sz']}, hidden {size['n_hid']}, {size['n_layers']} "
        f"layers, {size['n_words']} words, windows of {size['seq_len']}, max_len "
        f"{size['max_len']}"
        for name, size in sizes.items()
    ]
    heads = [f"{name} | largest value" for name in results]
    lines = [
        f"fastai {versions['fastai']}, torch {versions['torch']}. {'; '.join(described)}. "
        "Largest absolute differences from fastai on the same weights, and the largest "
        "value that was compared.",
        "",
        f"| | {' | '.join(heads)} |",
        "| --- |" + " ---: | ---: |" * len(results),
    ]
    for row in next(iter(results.values())):
        cells = [
            f"{differences[row].largest:.1e} | {differences[row].magnitude:.2g}"
            for differences in results.values()
        ]
        lines.append(f"| {row} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", NOTES])


if __name__ == "__main__":
    typer.run(main)
