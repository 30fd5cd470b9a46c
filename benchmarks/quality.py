"""What language models are worth on real tasks: score, time, memory and size, row by row.

    python benchmarks/quality.py ner --data DATA
    python benchmarks/quality.py tagging --data DATA
    python benchmarks/quality.py domain --data DATA
    python benchmarks/quality.py mixes --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Every run is a plain
`spacy train` in a process of its own, with a fixed number of steps, after which the last
pipeline is scored: neither the dev nor the test part chooses anything. What is there
already is not repeated. With `--only` and `--row` a part of a table is run now; it shows
all runs that are there. Results go to benchmarks/results.
"""

import statistics
from pathlib import Path
from types import MappingProxyType
from typing import (
    Any,
    Callable,
    Collection,
    Dict,
    Iterator,
    List,
    Mapping,
    NamedTuple,
    Sequence,
)

import spacy
import srsly
import typer
from _corpora import write_texts
from _language_models import language_model
from _runs import (
    DATA,
    JOBS,
    RESULTS,
    SEEDS,
    SHIPPED_BILM,
    WORK,
    Row,
    config_file,
    finished_runs,
    machine,
    markdown_table,
    prepare,
    processor,
    run_rows,
)
from matplotlib.figure import Figure
from spacy.tokens import Doc, DocBin
from tagger import convert
from wasabi import msg

from spacy_elmo_ulmfit.training.mix_report import LearntMix, mixes

app = typer.Typer(help=__doc__, no_args_is_help=True)

BASELINE, INPUT, AWD_LSTM = "tok2vec alone", "[x; ELMo]", "[x; AWD-LSTM]"
CONTINUED = "[x; ELMo], continued on the texts"
ONLY = typer.Option([], "--only", help="Data sets to run now, all if none is given")
ROW = typer.Option([], "--row", help="Rows to run now, all if none is given")
MIX = "components.ner.model.tok2vec.embed.right.mix.layers"
LAYERS = ("token", "first LSTM", "second LSTM")


class Variant(NamedTuple):
    """A row of a table.

    config (str): Name of its config.
    overrides (Mapping[str, str]): Settings on the command line.
    """

    config: str
    overrides: Mapping[str, str] = MappingProxyType({})


NER_VARIANTS: Dict[str, Variant] = {
    BASELINE: Variant("ner_baseline"),
    INPUT: Variant("ner_elmo"),
    "[x; ELMo], top layer": Variant("ner_elmo", {MIX: "top"}),
    "[x; ELMo], mean of the layers": Variant("ner_elmo", {MIX: "average"}),
    "[h; ELMo] at the output": Variant("ner_elmo_output"),
    "ELMo at both ends": Variant("ner_elmo_both"),
    "[x; ELMo], fine-tuned": Variant("ner_elmo_finetuned"),
    AWD_LSTM: Variant("ner_awd_lstm"),
}
TAGGING_VARIANTS: Dict[str, Variant] = {
    BASELINE: Variant("tagger_baseline"),
    INPUT: Variant("tagger_elmo"),
    AWD_LSTM: Variant("tagger_awd_lstm"),
}


class Extent(NamedTuple):
    """How much of a table is run now.

    seeds (int): Runs per row.
    jobs (int): Runs at a time.
    data_sets (Sequence[str]): Names of data sets, none for all.
    rows (Sequence[str]): Names of rows, none for all.
    gpu_id (int): GPU to train on, -1 for the CPU.
    sizes (Sequence[int]): Numbers of training examples, none for all.
    """

    seeds: int
    jobs: int
    data_sets: Sequence[str] = ()
    rows: Sequence[str] = ()
    gpu_id: int = -1
    sizes: Sequence[int] = ()

    def includes(self, data_set: str) -> bool:
        """Return whether runs of a data set are wanted."""
        return not self.data_sets or data_set in self.data_sets

    def select(self, rows: Sequence[Row]) -> List[Row]:
        """Return the rows that are wanted."""
        return [
            row
            for row in rows
            if (not self.rows or row.name in self.rows)
            and (not self.sizes or row.n_train in self.sizes)
        ]


class Task(NamedTuple):
    """A data set and the rows it is used for.

    name (str): Its folder.
    limit (int): Training sentences, the first ones.
    steps (int): Steps of a training.
    variants (Mapping[str, Variant]): The rows.
    has_test (bool): Whether there is a test part; where not, the dev part is scored
        alone.
    """

    name: str
    limit: int
    steps: int
    variants: Mapping[str, Variant]
    has_test: bool = True


def telling(variants: Mapping[str, Variant]) -> Dict[str, Variant]:
    """Return the rows that every data set has."""
    return {name: variants[name] for name in (BASELINE, INPUT, AWD_LSTM)}


NER = [
    Task("uner-ewt", 3000, 800, NER_VARIANTS),
    Task("wnut17", 3394, 800, telling(NER_VARIANTS), has_test=False),
    Task("ncbi-disease", 3000, 800, telling(NER_VARIANTS)),
    Task("bc5cdr", 3000, 800, telling(NER_VARIANTS)),
]
DOMAIN = [task for task in NER if task.name in ("ncbi-disease", "bc5cdr")]
TAGGING = [Task("ud-english-ewt", 2000, 800, TAGGING_VARIANTS)]
Prepare = Callable[[Path, Path, int], None]


@app.command("ner")
def ner(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    only: List[str] = ONLY,
    row: List[str] = ROW,
) -> None:
    """Named entities: a frozen language model beside, behind and around a network."""
    rows = {task.name: ner_rows(task, data, work) for task in NER}
    extent = Extent(seeds, jobs, only, row)
    untested = [task.name for task in NER if not task.has_test]
    report("ner", "ents_f", run_tasks(rows, work, extent), untested)


@app.command("tagging")
def tagging(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    only: List[str] = ONLY,
    row: List[str] = ROW,
) -> None:
    """Part-of-speech tags of English EWT, in spaCy's own tokens."""
    rows = {task.name: tagging_rows(task, data, work) for task in TAGGING}
    extent = Extent(seeds, jobs, only, row)
    report("tagging", "tag_acc", run_tasks(rows, work, extent))


@app.command("domain")
def domain(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    steps: int = typer.Option(600, help="Steps of the language model on the new text"),
) -> None:
    """Medical entities: the shipped biLM before and after it has read medical text."""
    rows = {task.name: ner_rows(task, data, work) for task in DOMAIN}
    tuned = continue_bilm(rows, work / "domain", steps)
    for task_rows in rows.values():
        task_rows[:] = [row for row in task_rows if row.name in (BASELINE, INPUT)]
        with_text = {**task_rows[-1].overrides, "paths.elmo": str(tuned)}
        task_rows.append(task_rows[-1]._replace(name=CONTINUED, overrides=with_text))
    report("domain", "ents_f", run_tasks(rows, work, Extent(seeds, jobs)))
    report_continued(tuned)


@app.command("mixes")
def draw_mixes(data: Path = DATA, work: Path = WORK) -> None:
    """Draw which layers the finished pipelines of `ner` and `tagging` have chosen."""
    found = {}
    for task in NER:
        found[f"NER, {task.name}"] = task_mixes(
            task.name, ner_rows(task, data, work), work
        )
    for task in TAGGING:
        rows = tagging_rows(task, data, work)
        found[f"tags, {task.name}"] = task_mixes(task.name, rows, work)
    found = {name: learnt for name, learnt in found.items() if learnt}
    if not found:
        msg.fail("No finished run: start 'ner' or 'tagging' first.", exits=1)
    means: Dict[str, Dict[str, Any]] = {
        name: {
            "shares": [
                round(statistics.mean(shares), 4)
                for shares in zip(*(mix.shares for mix in learnt))
            ],
            "gamma": round(statistics.mean(mix.gamma for mix in learnt), 4),
        }
        for name, learnt in found.items()
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    srsly.write_json(RESULTS / "quality-mixes.json", means)
    plot_mixes(means, RESULTS / "quality-mixes.png")
    msg.table(
        [(name, *mean["shares"], mean["gamma"]) for name, mean in means.items()],
        header=("task", *LAYERS, "gamma"),
        divider=True,
    )


def continue_bilm(rows: Mapping[str, Sequence[Row]], folder: Path, steps: int) -> Path:
    """Train the shipped biLM on the training texts of all data sets, without labels."""
    parts = {
        f"paths.{part}": write_texts(
            (
                {"text": doc.text}
                for task_rows in rows.values()
                for doc in read_docs(Path(task_rows[0].overrides[f"paths.{part}"]))
            ),
            folder / f"{part}.jsonl",
        )
        for part in ("train", "dev")
    }
    settings = {**parts, "lm.max_steps": steps, "lm.eval_frequency": max(1, steps // 4)}
    return language_model(
        folder / "lm", "finetune", "bilm_finetune", {"from": SHIPPED_BILM, **settings}
    )


def report_continued(pipeline: Path) -> None:
    """Print and write what the continued biLM says about its training."""
    said = srsly.read_json(pipeline / "meta.json")["language_model"]["elmo_tok2vec"]
    srsly.write_json(RESULTS / "quality-domain-lm.json", said)
    msg.info(
        f"The biLM after {said['steps']} steps on the texts, {said['seconds']} s: "
        f"perplexity {said['perplexity']:.1f} on the dev texts (of word frequencies "
        f"alone: {said['unigram_perplexity']:.1f})"
    )


def read_docs(path: Path) -> Iterator[Doc]:
    """Yield the documents of a corpus in spaCy's format."""
    return DocBin().from_disk(path).get_docs(spacy.blank("en").vocab)


def ner_rows(task: Task, data: Path, work: Path) -> List[Row]:
    """Return the runs of a data set with entities."""

    def convert_part(source: Path, target: Path, limit: int) -> None:
        prepare(
            "ner-conll", source.with_suffix(".conll.gz"), target, f"--limit={limit}"
        )

    return task_rows(task, data / task.name, work, convert_part)


def tagging_rows(task: Task, data: Path, work: Path) -> List[Row]:
    """Return the runs of a data set with tags."""

    def convert_part(source: Path, target: Path, limit: int) -> None:
        name = f"en_ewt-ud-{source.name}.conllu.gz"
        convert(source.with_name(name), target, limit)

    return task_rows(task, data / task.name, work, convert_part)


def task_rows(task: Task, source: Path, work: Path, convert_part: Prepare) -> List[Row]:
    """Return the runs of a data set, whose parts are converted once."""
    corpus = work / task.name / "corpus"
    limits = {"train": task.limit, "dev": 0, **({"test": 0} if task.has_test else {})}
    parts = {part: corpus / f"{part}.spacy" for part in limits}
    for part, target in parts.items():
        if not target.exists():
            convert_part(source / part, target, limits[part])
    settings = {
        "paths.train": str(parts["train"]),
        "paths.dev": str(parts["dev"]),
        "training.max_steps": str(task.steps),
        "training.patience": "0",
        # The last pipeline is scored, so a glance at the dev part on the way is enough.
        "training.eval_frequency": str(task.steps),
        "corpora.dev.limit": "50",
    }
    return [
        Row(
            name,
            task.limit,
            config_file(variant.config),
            {**settings, **variant.overrides},
            "model-last",
            parts.get("test", parts["dev"]),
        )
        for name, variant in task.variants.items()
    ]


def run_tasks(
    rows: Mapping[str, Sequence[Row]], work: Path, extent: Extent
) -> Dict[str, List[List[Dict[str, Any]]]]:
    """Run what is wanted now; return all runs that are there, by data set and row."""
    for name, task_rows in rows.items():
        wanted = extent.select(task_rows)
        if wanted and extent.includes(name):
            run_rows(name, wanted, work, extent.seeds, extent.jobs, extent.gpu_id)
    return {
        name: [runs for runs in finished_runs(name, task_rows, work) if runs]
        for name, task_rows in rows.items()
    }


def report(
    table: str,
    metric: str,
    tasks: Mapping[str, Sequence[List[Dict[str, Any]]]],
    untested: Collection[str] = (),
) -> None:
    """Write all runs and the table of their means, and print it.

    table (str): Its name.
    metric (str): The score.
    tasks (Mapping[str, Sequence[List[Dict[str, Any]]]]): Runs by data set and row.
    untested (Collection[str]): Data sets without a test part.
    """
    rows = [
        {
            "data": name,
            **summary(runs, metric),
            **({"test": "–"} if name in untested else {}),
        }
        for name, task_runs in tasks.items()
        for runs in task_runs
    ]
    header, cells = list(rows[0]), [list(row.values()) for row in rows]
    msg.table(cells, header=header, divider=True)
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"quality-{table}.json"
    srsly.write_json(path, {"machine": machine(), "runs": tasks})
    path.with_suffix(".md").write_text(markdown_table(header, cells), encoding="utf-8")


def summary(runs: Sequence[Dict[str, Any]], metric: str) -> Dict[str, str]:
    """Return a row: means, and of the scores the spread."""
    return {
        "row": runs[0]["pipeline"],
        "examples": f"{runs[0]['train_examples']:,}",
        "runs": str(len(runs)),
        "dev": mean_and_spread([run["scores"][metric] for run in runs]),
        "test": mean_and_spread([run["test_scores"][metric] for run in runs]),
        **costs(runs),
    }


def costs(runs: Sequence[Dict[str, Any]]) -> Dict[str, str]:
    """Return seconds, words per second, megabytes: means of the runs that tell them.

    These are runs on this machine's processor, or, where there are none, on others. Runs
    on a GPU, several at a time, tell neither time nor memory.
    """
    on_cpu = [run for run in runs if "gpu" not in run]
    here = [run for run in on_cpu if run.get("processor") == processor()]
    timed = here or on_cpu

    def mean(values: Sequence[float]) -> str:
        return f"{statistics.mean(values):,.0f}" if values else "–"

    return {
        "s to train": mean([run["seconds"] for run in timed]),
        "words/s": mean([run["scores"]["speed"] for run in timed]),
        "peak MB": mean([run["peak_mb"] for run in timed]),
        "timed on": timed[0].get("processor", "–") if timed else "–",
        "MB on disk": f"{statistics.mean(run['disk_mb'] for run in runs):.1f}",
    }


def mean_and_spread(scores: Sequence[float]) -> str:
    """Return a mean with the standard deviation, in percent."""
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{100 * statistics.mean(scores):.1f} ± {100 * spread:.1f}"


def task_mixes(name: str, rows: Sequence[Row], work: Path) -> List[LearntMix]:
    """Return what the finished runs with ELMo at the input have learnt."""
    wanted = [row for row in rows if row.name == INPUT]
    runs = finished_runs(name, wanted, work)
    return [
        mix
        for row, found in zip(wanted, runs)
        for run in found
        for mix in mixes(
            spacy.load(row.folder(name, work) / f"seed{run['seed']}" / row.model)
        )
    ]


def plot_mixes(means: Mapping[str, Dict[str, Any]], path: Path) -> None:
    """Draw the share of each layer in each task, as figure 2 of the ELMo paper."""
    figure = Figure(figsize=(1.6 + 1.2 * len(means), 3.2), layout="constrained")
    axes = figure.subplots()
    shares = list(zip(*(mean["shares"] for mean in means.values())))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto", origin="lower")
    axes.set_xticks(range(len(means)), list(means), rotation=20, ha="right")
    axes.set_yticks(range(len(shares)), LAYERS[: len(shares)])
    for y, layer in enumerate(shares):
        for x, share in enumerate(layer):
            color = "white" if share > 0.6 else "black"
            axes.text(x, y, f"{share:.2f}", ha="center", va="center", color=color)
    axes.set_title("Softmax-normalized share of each layer (s_j)")
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    app()
