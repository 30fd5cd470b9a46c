"""The ULMFiT recipe as it happens: what moves in which stage, and by which rates.

    python benchmarks/recipe.py

A tiny classifier is trained by `spacy train` with configs/textcat_ulmfit.cfg. A spy
around the recipe's callback writes down every weight before every step. Table and
picture go to benchmarks/results/recipe.{md,json,png}.
"""

import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple

import spacy
import srsly
import torch
import typer
from _runs import RESULTS, commit, config_file, machine, markdown_table
from matplotlib.figure import Figure
from spacy.cli.train import train
from spacy.language import Language
from spacy.tokens import DocBin
from spacy.util import load_config, registry
from thinc.api import Config
from wasabi import msg

from spacy_elmo_ulmfit.training.strategies import Strategy
from spacy_elmo_ulmfit.training.ulmfit import create_ulmfit

STEPS, BATCH_SIZE = 240, 4
GROUPS = ["embedding", "layer 0", "layer 1", "layer 2", "head"]
SIZES = {"embedding_dim": 8, "hidden_dim": 12, "n_layers": 3}
TEXTS = {
    "food": ["the tea was hot and sweet", "a bowl of soup", "cake with tea again"],
    "travel": ["the train leaves at noon", "a bus to the sea", "a night train"],
}
STRATEGIES: List[Strategy] = ["gradual", "chain-thaw"]
State = Dict[str, torch.Tensor]


class Spied(NamedTuple):
    """One step as the spy saw it.

    epoch (int): Number of the epoch.
    groups (List[int]): The layer groups that could learn.
    rate (float): Rate of the head.
    lr_decay (float): Factor between the rates of neighbouring groups.
    beta1 (float): Momentum.
    fresh (bool): Whether a stage began.
    weights (List[Dict[str, Tensor]]): Weights of each group before the step.
    """

    epoch: int
    groups: List[int]
    rate: float
    lr_decay: float
    beta1: float
    fresh: bool
    weights: List[State]


class Spy:
    """The recipe's callback, which writes down what it finds and does.

    settings (Any): Arguments of `ulmfit.v1`.
    """

    def __init__(self, **settings: Any) -> None:
        self.recipe = create_ulmfit(**settings)
        self.steps: List[Spied] = []

    def __call__(self, nlp: Language, args: Dict[str, Any]) -> None:
        """Act as a callback for `[training.before_update]`."""
        self.recipe(nlp, args)
        pipe: Any = nlp.get_pipe("textcat")
        shim = pipe.shim
        update = shim.group_update
        self.steps.append(
            Spied(
                epoch=args["epoch"],
                groups=sorted(shim.trainable_groups),
                rate=update.learn_rate,
                lr_decay=update.lr_decay,
                beta1=update.beta1,
                fresh=update.fresh,
                weights=[
                    {
                        name: parameter.detach().clone()
                        for name, parameter in shim.module.named_parameters()
                        if name.startswith(prefixes)
                    }
                    for prefixes in shim.layer_groups
                ],
            )
        )

    def stages(self) -> List[List[Spied]]:
        """Return the steps stage by stage."""
        starts = [i for i, step in enumerate(self.steps) if step.fresh]
        ends = [*starts[1:], len(self.steps)]
        return [self.steps[start:end] for start, end in zip(starts, ends)]


def main() -> None:
    """Train with each strategy and report what moved."""
    spies = {strategy: run(strategy=strategy) for strategy in STRATEGIES}
    # Without weight decay, Adam's first step is as long as the rate for every weight.
    rates = measured_rates(run(strategy="full", weight_decay=0.0, eps=1e-12))
    tables = {strategy: movement(spy) for strategy, spy in spies.items()}
    expected = [round(2.6**-k, 6) for k in reversed(range(len(GROUPS)))]
    RESULTS.mkdir(parents=True, exist_ok=True)
    srsly.write_json(
        RESULTS / "recipe.json",
        {
            "machine": machine(),
            "commit": commit(),
            "movement": tables,
            "rates": {"measured": rates, "2.6^-k": expected},
        },
    )
    report = "".join(movement_section(name, table) for name, table in tables.items())
    report += rates_section(rates, expected)
    (RESULTS / "recipe.md").write_text(report, encoding="utf-8")
    plot(spies).savefig(RESULTS / "recipe.png", dpi=120)
    print(report)
    msg.good(f"Table and picture are in {RESULTS}.")


def run(**settings: Any) -> Spy:
    """Run `spacy train` with the recipe under a spy."""
    spy = Spy(**settings)
    registry.callbacks.register("recipe_spy.v1", func=spy_factory(spy))
    with tempfile.TemporaryDirectory() as folder:
        corpus = Path(folder) / "corpus.spacy"
        write_corpus(corpus)
        model = {f"components.textcat.model.{key}": n for key, n in SIZES.items()}
        overrides = {
            **model,
            "components.textcat.model.drop_mult": 0.0,
            "components.textcat.model.head_dropout": 0.0,
            "components.textcat.model.storage": "float32",
            "paths.train": str(corpus),
            "paths.dev": str(corpus),
            # Random weights will do.
            "paths.encoder": None,
            "training.max_steps": STEPS,
            "training.eval_frequency": STEPS,
            "training.batcher": {
                "@batchers": "spacy.batch_by_sequence.v1",
                "size": BATCH_SIZE,
            },
            "training.before_update": {"@callbacks": "recipe_spy.v1"},
        }
        config = load_config(config_file("textcat_ulmfit"))
        path = Path(folder) / "config.cfg"
        with_settings(config, overrides).to_disk(path)
        train(path)
    return spy


def spy_factory(spy: Spy) -> Callable[[], Spy]:
    """Return what the registry calls to create the callback."""

    def create_spy() -> Spy:
        return spy

    return create_spy


def with_settings(config: Config, settings: Dict[str, Any]) -> Config:
    """Return a config with values, or whole blocks, put in."""
    for key, value in settings.items():
        *path, last = key.split(".")
        block = config
        for part in path:
            block = block[part]
        block[last] = value
    return config


def write_corpus(path: Path) -> None:
    """Write the texts with their labels."""
    nlp = spacy.blank("en")
    docs = []
    for label, texts in TEXTS.items():
        for text in texts:
            doc = nlp.make_doc(text)
            doc.cats = {name: float(name == label) for name in TEXTS}
            docs.append(doc)
    DocBin(docs=docs).to_disk(path)


def movement(spy: Spy) -> List[Dict[str, Any]]:
    """Return how far each group moved in each stage: the largest |dW| of any weight."""
    stages, rows = spy.stages(), []
    for number, steps in enumerate(stages):
        last = number + 1 == len(stages)
        after = steps[-1].weights if last else stages[number + 1][0].weights
        moved = [
            max(float((after[k][name] - w).abs().max()) for name, w in group.items())
            for k, group in enumerate(steps[0].weights)
        ]
        rows.append(
            {
                "stage": number + 1,
                "steps": len(steps),
                "epochs": [steps[0].epoch, steps[-1].epoch],
                "learning": [GROUPS[k] for k in steps[0].groups],
                "max_rate": max(step.rate for step in steps),
                "moved": dict(zip(GROUPS, moved)),
            }
        )
    return rows


def measured_rates(spy: Spy) -> List[float]:
    """Return how far each group moves in the first step, as a share of the head."""
    first, second = spy.steps[:2]
    moved = [
        max(float((second.weights[k][n] - w).abs().max()) for n, w in group.items())
        for k, group in enumerate(first.weights)
    ]
    return [round(value / moved[-1], 6) for value in moved]


def movement_section(strategy: str, table: List[Dict[str, Any]]) -> str:
    """Return a table of movements in Markdown."""
    header = ["stage", "epochs", "steps", "highest rate", *GROUPS]
    rows = [
        [
            str(row["stage"]),
            "{}-{}".format(*row["epochs"]),
            str(row["steps"]),
            f"{row['max_rate']:g}",
            *(f"{value:.1e}" if value else "0.0" for value in row["moved"].values()),
        ]
        for row in table
    ]
    return (
        f'## Largest |dW| of each group, `strategy = "{strategy}"`\n\n'
        f"{markdown_table(header, rows)}\n"
    )


def rates_section(measured: List[float], expected: List[float]) -> str:
    """Return the table of rates in Markdown."""
    rows = [
        [group, f"{found:.6f}", f"{rate:.6f}"]
        for group, found, rate in zip(GROUPS, measured, expected)
    ]
    return (
        "## Size of the first step of each group, as a share of the head's\n\n"
        + markdown_table(["group", "measured", "2.6^-k"], rows)
    )


def plot(spies: Dict[Strategy, Spy]) -> Figure:
    """Draw rates, momentum and the groups that learn over the steps."""
    figure = Figure(figsize=(6 * len(spies), 7.5), layout="constrained")
    axes = figure.subplots(3, len(spies), sharex=True, squeeze=False)
    for column, (strategy, spy) in enumerate(spies.items()):
        steps = spy.steps
        rate_axis, momentum_axis, group_axis = axes[:, column]
        rate_axis.set_title(f'strategy = "{strategy}"')
        for depth, name in enumerate(reversed(GROUPS)):
            group = len(GROUPS) - 1 - depth
            rates = [
                step.rate * step.lr_decay**-depth if group in step.groups else None
                for step in steps
            ]
            values = [float("nan") if rate is None else rate for rate in rates]
            rate_axis.semilogy(values, label=name)
            learning = [i for i, step in enumerate(steps) if group in step.groups]
            group_axis.plot(learning, [group] * len(learning), "s", markersize=3)
        momentum_axis.plot([step.beta1 for step in steps], color="black")
        group_axis.set_yticks(range(len(GROUPS)), GROUPS)
        group_axis.set_ylim(-0.5, len(GROUPS) - 0.5)
        group_axis.set_xlabel("step")
    for axis, label in zip(axes[:, 0], ("learning rate", "momentum (beta1)", "learns")):
        axis.set_ylabel(label)
    axes[0, 0].legend(loc="lower left", fontsize="small")
    return figure


if __name__ == "__main__":
    typer.run(main)
