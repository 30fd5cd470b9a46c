"""What a language model is worth with few labels: scores over the number of labels.

    python benchmarks/quality_curves.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Each seed labels texts of
its own choice. Parts, settings and runs are those of benchmarks/quality.py and
quality_textcat.py, the runs with all labels too; what is there already is not repeated.
The test part is scored. With `--only`, `--row` and `--size` a part is run now; table and
plot show all results that are there.
"""

import random
import statistics
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Sequence

import quality
import quality_textcat
import spacy
import srsly
import typer
from _runs import (
    ACCURACY,
    DATA,
    GPU,
    JOBS,
    RESULTS,
    SEEDS,
    WORK,
    Row,
    in_parallel,
    machine,
    markdown_table,
)
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from quality import (
    AWD_LSTM,
    BASELINE,
    INPUT,
    NER,
    ONLY,
    ROW,
    Extent,
    mean_and_spread,
)
from quality_textcat import TASKS, linear_run
from spacy.tokens import DocBin
from ulmfit import ENSEMBLE, FULL, NO_FINETUNING, SCRATCH
from wasabi import msg

SIZES = (25, 50, 100, 250, 500, 1000)
SIZE = typer.Option([], "--size", help="Numbers of labels to run now, all if none")
RESULT = "quality-curves-{}.json"
Run = Dict[str, Any]


class Curve(NamedTuple):
    """A data set whose labels are counted.

    title (str): What is told, and of what.
    metric (str): The score, as `spacy evaluate` names it.
    unit (str): What is labelled.
    runs (Callable[[Path, Path, Extent], List[List[Run]]]): Returns the runs of each row
        and size; takes the folders of data and work, and what is run now.
    """

    title: str
    metric: str
    unit: str
    runs: Callable[[Path, Path, Extent], List[List[Run]]]


def curves(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    only: List[str] = ONLY,
    row: List[str] = ROW,
    size: List[int] = SIZE,
    gpu_id: int = GPU,
) -> None:
    """Run what is not there yet, write table and plot of all results."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    extent = Extent(seeds, jobs, only, row, gpu_id, size)
    for name, curve in CURVES.items():
        if extent.includes(name):
            runs = curve.runs(data, work, extent)
            about = {"machine": machine(), "metric": curve.metric, "runs": runs}
            srsly.write_json(RESULTS / RESULT.format(name), about)
    paths = {name: RESULTS / RESULT.format(name) for name in CURVES}
    found = {
        name: srsly.read_json(path)["runs"]
        for name, path in paths.items()
        if path.exists()
    }
    report(found)
    plot(found, RESULTS / "quality-curves.png")


def ner_runs(data: Path, work: Path, extent: Extent) -> List[List[Run]]:
    """Return the runs on Universal NER's English EWT."""
    task = NER[0]
    rows = {row.name: row for row in quality.ner_rows(task, data, work)}
    wanted = [rows[name] for name in (BASELINE, INPUT, AWD_LSTM)]
    few = []
    for size in SIZES:
        train = write_samples(
            Path(wanted[0].overrides["paths.train"]), size, extent.seeds
        )
        steps = str(200 if size <= 100 else 400)
        own = {
            "paths.train": train,
            "training.max_steps": steps,
            "training.eval_frequency": steps,
        }
        few += [
            row._replace(n_train=size, overrides={**row.overrides, **own})
            for row in wanted
        ]
    return quality.run_tasks({task.name: [*few, *wanted]}, work, extent)[task.name]


def write_samples(train: Path, size: int, seeds: int) -> str:
    """Write each seed's choice of sentences; return their path, `{seed}` in it."""
    target = train.with_name(f"train_{size}_{{seed}}.spacy")
    docs = list(DocBin().from_disk(train).get_docs(spacy.blank("en").vocab))
    for seed in range(seeds):
        path = Path(str(target).format(seed=seed))
        if not path.exists():
            sample = random.Random(seed).sample(docs, size)
            DocBin(docs=sample).to_disk(path)
    return str(target)


def textcat_runs(name: str) -> Callable[[Path, Path, Extent], List[List[Run]]]:
    """Return what runs a data set for text classification."""

    def runs(data: Path, work: Path, extent: Extent) -> List[List[Run]]:
        rows_wanted = (ENSEMBLE, SCRATCH, NO_FINETUNING, FULL)
        task = TASKS[name]._replace(rows=rows_wanted)
        parts = task.cut(data / name)
        tunings = quality_textcat.fine_tunings(task, parts, work / name, extent)
        in_parallel(tunings, extent.jobs)
        rows: List[Row] = []
        for size in SIZES:
            few = task._replace(steps=120 if size <= 100 else 200, batch_size=32)
            rows += quality_textcat.task_rows(
                name, few, parts, work, size, extent.seeds
            )
        rows += quality_textcat.task_rows(name, task, parts, work)
        found = quality.run_tasks({name: rows}, work, extent)[name]
        linear = [
            [linear_run(row, seed) for seed in range(extent.seeds)]
            for row in rows
            if row.name == ENSEMBLE
        ]
        return [*found, *linear]

    return runs


CURVES: Dict[str, Curve] = {
    "uner-ewt": Curve("Named entities, English EWT", "ents_f", "sentences", ner_runs),
    "trec6": Curve(
        "Kinds of questions, TREC-6", ACCURACY, "questions", textcat_runs("trec6")
    ),
    "agnews": Curve(
        "Kinds of news, AG News", ACCURACY, "texts", textcat_runs("agnews")
    ),
    "dbpedia14-sample": Curve(
        "Kinds of things, DBpedia",
        ACCURACY,
        "texts",
        textcat_runs("dbpedia14-sample"),
    ),
}


def report(found: Mapping[str, Sequence[List[Run]]]) -> None:
    """Write and print a table: a line per data set and row, a column per size."""
    header = ["data", "row", *(f"{size:,}" for size in SIZES), "all"]
    lines = []
    for name, runs in found.items():
        for row, by_size in by_row(runs).items():
            cells = {
                size: mean_and_spread(scores(size_runs, CURVES[name].metric))
                for size, size_runs in by_size.items()
            }
            few = [cells.get(size, "") for size in SIZES]
            rest = [f"{cells[size]} ({size:,})" for size in cells if size not in SIZES]
            lines.append([name, row, *few, ", ".join(rest)])
    msg.table(lines, header=header, divider=True)
    path = RESULTS / "quality-curves.md"
    path.write_text(markdown_table(header, lines), encoding="utf-8")


def by_row(runs: Sequence[List[Run]]) -> Dict[str, Dict[int, List[Run]]]:
    """Return runs by their row and their number of labels, in growing numbers."""
    found: Dict[str, Dict[int, List[Run]]] = {}
    for group in sorted(runs, key=lambda group: group[0]["train_examples"]):
        row = found.setdefault(group[0]["pipeline"], {})
        row[group[0]["train_examples"]] = group
    return found


def scores(runs: Sequence[Run], metric: str) -> List[float]:
    """Return the scores on the test part."""
    return [run["test_scores"][metric] for run in runs]


def plot(found: Mapping[str, Sequence[List[Run]]], path: Path) -> None:
    """Draw the score of each row over the number of labels, a panel per data set.

    Two numbers of labels are no curve, and one curve is no comparison: such are in the
    table alone.
    """
    curves_found = {
        name: {row: sizes for row, sizes in by_row(runs).items() if len(sizes) > 2}
        for name, runs in found.items()
    }
    drawn = {name: rows for name, rows in curves_found.items() if len(rows) > 1}
    if not drawn:
        return
    figure = Figure(figsize=(4.6 * len(drawn), 4.2), layout="constrained")
    panels = figure.subplots(1, len(drawn), squeeze=False)[0]
    for axes, (name, rows) in zip(panels, drawn.items()):
        draw(axes, CURVES[name], rows)
    figure.savefig(path, dpi=120)


def draw(axes: Axes, curve: Curve, rows: Mapping[str, Mapping[int, List[Run]]]) -> None:
    """Draw the rows of a data set."""
    for number, (name, by_size) in enumerate(rows.items()):
        values = [
            [100 * score for score in scores(runs, curve.metric)]
            for runs in by_size.values()
        ]
        axes.errorbar(
            # Side by side, so that the bars of the spread do not hide each other.
            [size * 1.02 ** (number - 2) for size in by_size],
            [statistics.mean(each) for each in values],
            yerr=[statistics.stdev(e) if len(e) > 1 else 0.0 for e in values],
            marker="o",
            markersize=4,
            capsize=2,
            label=name,
        )
    sizes = sorted({size for by_size in rows.values() for size in by_size})
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes], rotation=45)
    axes.minorticks_off()
    axes.set_xlabel(f"labelled {curve.unit}")
    axes.set_ylabel("F in %" if curve.metric == "ents_f" else "accuracy in %")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    axes.set_title(curve.title, fontsize="medium")


if __name__ == "__main__":
    typer.run(curves)
