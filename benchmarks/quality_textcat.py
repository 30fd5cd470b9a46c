"""What language models are worth to text classification: score, time, memory and size.

    python benchmarks/quality_textcat.py table --data DATA
    python benchmarks/quality_textcat.py curves --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Runs, parts and results
are those of benchmarks/quality.py. Where the test part is not in DATA, a part of the
training texts, or the published dev part, takes its place.
"""

import pickle
import time
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import srsly
import typer
from _corpora import (
    Record,
    balanced,
    choose,
    read_records,
    shuffled,
    unlabelled_reviews,
    write_corpus,
    write_texts,
)
from _runs import (
    ACCURACY,
    DATA,
    JOBS,
    RESULTS,
    RUN,
    SEEDS,
    WORK,
    Row,
    commit,
    config_file,
    in_new_process,
    machine,
    peak_memory,
)
from quality import ONLY, Extent, report, run_tasks
from ulmfit import (
    ENSEMBLE,
    FULL,
    NO_FINETUNING,
    SCRATCH,
    SCRATCH_SETTINGS,
    SHIPPED,
    TFIDF,
    finetune,
    linear_model,
    plot,
    texts,
    texts_and_labels,
)

app = typer.Typer(help=__doc__, no_args_is_help=True)

SHIPPED_BACKWARD = SHIPPED.with_name("en_ulmfit_backward_sm")
BACKWARD, BOTH = "backward", "both directions"
ELMO, AWD_LSTM = "[x; ELMo], convolutions", "[x; AWD-LSTM], convolutions"
TELLING = (ENSEMBLE, ELMO, NO_FINETUNING, FULL)
ALL = (ENSEMBLE, ELMO, AWD_LSTM, SCRATCH, NO_FINETUNING, FULL, BACKWARD, BOTH)
CURVES = (ENSEMBLE, SCRATCH, NO_FINETUNING, FULL)
CURVE_SIZES = (25, 50, 100, 250, 500, 1000)


class Parts(NamedTuple):
    """A data set, cut.

    train (List[Record]): Labelled texts.
    dev (List[Record]): Texts for every choice.
    test (List[Record]): Texts that are scored once.
    more (List[Record]): Further texts, without labels, for language models.
    """

    train: List[Record]
    dev: List[Record]
    test: List[Record]
    more: Sequence[Record] = ()


class Task(NamedTuple):
    """A data set and how classifiers are trained on it.

    cut (Callable[[Path], Parts]): Reads and cuts it.
    rows (Sequence[str]): The rows it is used for.
    limit (int): Labelled texts that are used, 0 for all.
    steps (int): Updates of a training.
    lm_steps (int): Updates of the language model's fine-tuning.
    batch_size (int): Texts per update.
    model (Mapping[str, str]): Settings of ULMFiT's architecture.
    """

    cut: Callable[[Path], Parts]
    rows: Sequence[str]
    limit: int
    steps: int
    lm_steps: int
    batch_size: int = 32
    model: Mapping[str, str] = MappingProxyType({})


def cut_train(size: int) -> Callable[[Path], Parts]:
    """Return what cuts dev and test from the training part, `size` texts each."""

    def cut(source: Path) -> Parts:
        records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
        return Parts(records[2 * size :], records[size : 2 * size], records[:size])

    return cut


def cut_dev_from_train(source: Path) -> Parts:
    """Take the published dev part as test, and cut a dev part of its size."""
    test = read_records(source / "dev.jsonl.gz")[:2000]
    records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
    return Parts(records[len(test) :], records[: len(test)], test)


def as_published(source: Path) -> Parts:
    """Take all three parts as they are."""
    names = ("train", "dev", "test")
    return Parts(*(read_records(source / f"{name}.jsonl.gz") for name in names))


def cut_imdb(source: Path) -> Parts:
    """Cut 1,000 reviews each for dev and test, half of them positive."""
    records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
    held_out = balanced(records[::-1], 2000)
    dev, test = (shuffled(half, seed=0) for half in (held_out[::2], held_out[1::2]))
    more = unlabelled_reviews(source / "unsup.txt.xz", 10_000)
    return Parts(shuffled(balanced(records, 1000), seed=0), dev, test, more)


TASKS: Dict[str, Task] = {
    "trec6": Task(cut_train(545), ALL, 0, 250, 400, batch_size=64),
    "agnews": Task(cut_dev_from_train, TELLING, 2000, 250, 400),
    "imdb": Task(cut_imdb, TELLING, 1000, 240, 2000, model={"drop_mult": "0.3"}),
    "sst2": Task(as_published, TELLING, 0, 300, 400, batch_size=64),
    "sst5": Task(as_published, TELLING, 0, 300, 400, batch_size=64),
    "dbpedia14-sample": Task(cut_dev_from_train, TELLING, 2000, 250, 400),
}


@app.command("table")
def table(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    only: List[str] = ONLY,
) -> None:
    """Compare all rows on TREC-6, and the telling ones on five more data sets."""
    rows, extent = {}, Extent(seeds, jobs, only)
    for name, task in TASKS.items():
        if not extent.includes(name) and not any((work / name).glob(f"*/*/{RUN}")):
            continue
        parts = task.cut(data / name)
        train = shuffled(parts.train, seed=0)[: task.limit or None]
        rows[name] = task_rows(name, task, parts._replace(train=train), work)
    runs = run_tasks(rows, work, extent)
    for name, task_runs in runs.items():
        if task_runs:
            task_runs.insert(0, [in_new_process(linear_run, rows[name][0])])
    report("textcat", ACCURACY, runs)


@app.command("curves")
def curves(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    task: str = typer.Option("trec6", help="Data set: trec6 or agnews"),
) -> None:
    """Draw the error over the number of labels, pretrained against not."""
    settings = TASKS[task]._replace(rows=CURVES)
    parts = settings.cut(data / task)
    sizes = [size for size in CURVE_SIZES if size < len(parts.train)]
    rows: List[Row] = []
    for size in sizes:
        sample = settings._replace(steps=curve_steps(size), batch_size=32)
        rows += task_rows(task, sample, parts, work, size=size, seeds=seeds)
    rows += task_rows(task, settings, parts, work)
    name = f"{task}-curves"
    found = run_tasks({name: rows}, work, Extent(seeds, jobs))[name]
    points = [
        {
            "task": task,
            "pipeline": runs[0]["pipeline"],
            "train_examples": runs[0]["train_examples"],
            "scores": [run["test_scores"][ACCURACY] for run in runs],
        }
        for runs in found
    ]
    path = RESULTS / f"quality-curves-{task}.json"
    srsly.write_json(path, {"machine": machine(), "points": points, "runs": found})
    plot(points, path.with_suffix(".png"))


def linear_run(row: Row) -> Dict[str, Any]:
    """Train and score a linear model on the corpora of a row."""
    started = time.monotonic()
    model = linear_model().fit(*texts_and_labels(Path(row.overrides["paths.train"])))
    seconds = round(time.monotonic() - started, 1)
    scores = {}
    assert row.test is not None
    parts = {"scores": Path(row.overrides["paths.dev"]), "test_scores": row.test}
    for name, part in parts.items():
        documents, labels = texts_and_labels(part)
        started = time.monotonic()
        accuracy = float(model.score(documents, labels))
        n_words = sum(len(text.split()) for text in documents)
        speed = n_words / (time.monotonic() - started)
        scores[name] = {ACCURACY: accuracy, "speed": speed}
    return {
        "pipeline": TFIDF,
        "train_examples": row.n_train,
        "seed": 0,
        "commit": commit(),
        "seconds": seconds,
        "peak_mb": peak_memory(),
        "disk_mb": round(len(pickle.dumps(model)) / 2**20, 1),
        **scores,
    }


def curve_steps(size: int) -> int:
    """Return how long to train on some number of labels, the same for all rows."""
    return 120 if size <= 100 else 200


def task_rows(
    name: str,
    task: Task,
    parts: Parts,
    work: Path,
    *,
    size: int = 0,
    seeds: int = 0,
) -> List[Row]:
    """Return the runs of a data set.

    size (int): Labels, chosen anew for each seed; 0 for all.
    """
    folder = work / name
    corpus = folder / "corpus"
    dev, test = (
        write_corpus(records, corpus, part)
        for part, records in (("dev", parts.dev), ("test", parts.test))
    )
    train = str(write_corpus(parts.train, corpus, f"train_{len(parts.train)}"))
    if size:
        for seed in range(seeds):
            sample = choose(parts.train, size, seed)
            write_corpus(sample, corpus, f"train_{size}_{seed}")
        train = str(corpus / f"train_{size}_{{seed}}.spacy")
    settings = {
        "paths.train": train,
        "paths.dev": str(dev),
        "training.max_steps": str(task.steps),
        "training.eval_frequency": str(task.steps),
        "training.patience": "0",
        "corpora.dev.limit": "50",
        "training.batcher.size": str(task.batch_size),
    }
    create = RowFactory(task, settings, test, size or len(parts.train))
    encoders = tuned_encoders(task, parts, folder)
    return [create(row, encoders) for row in task.rows]


def tuned_encoders(task: Task, parts: Parts, folder: Path) -> Dict[str, Path]:
    """Fine-tune the shipped language models on the data set's texts, by direction."""
    corpus, found = folder / "corpus", {}
    text = {
        "paths.train": write_texts(
            [*texts(parts.train), *parts.more], corpus / "lm_train.jsonl"
        ),
        "paths.dev": write_texts(texts(parts.dev[:200]), corpus / "lm_dev.jsonl"),
        "lm.max_steps": task.lm_steps,
        "lm.eval_frequency": max(1, task.lm_steps // 4),
        "lm.checkpoint_frequency": 100,
        "lm.vocabulary": "replace",
        "lm.max_vocab": 16000,
        "lm.min_freq": 2,
    }
    if FULL in task.rows:
        found[FULL] = finetune(folder / "lm", SHIPPED, text)
    if BACKWARD in task.rows:
        found[BACKWARD] = finetune(folder / "lm_backward", SHIPPED_BACKWARD, text)
    return found


class RowFactory(NamedTuple):
    """Makes the rows of one data set and one number of labels.

    task (Task): The data set.
    settings (Mapping[str, str]): What all rows have in common.
    test (Path): The part that is scored.
    n_train (int): Number of labels.
    """

    task: Task
    settings: Mapping[str, str]
    test: Path
    n_train: int

    def __call__(self, name: str, encoders: Mapping[str, Path]) -> Row:
        """Return a row by its name."""
        model = "components.textcat.model"
        own = {f"{model}.{key}": value for key, value in self.task.model.items()}
        config, overrides = {
            ENSEMBLE: ("textcat_ensemble", {}),
            ELMO: ("textcat_elmo", {}),
            AWD_LSTM: ("textcat_awd_lstm", {}),
            SCRATCH: ("textcat_ulmfit", {**own, **SCRATCH_SETTINGS, **encoder(None)}),
            NO_FINETUNING: ("textcat_ulmfit", {**own, **encoder(SHIPPED)}),
            FULL: ("textcat_ulmfit", {**own, **encoder(encoders.get(FULL))}),
            BACKWARD: (
                "textcat_ulmfit",
                {
                    **own,
                    f"{model}.direction": "backward",
                    **encoder(encoders.get(BACKWARD)),
                },
            ),
            BOTH: (
                "textcat_ulmfit_both",
                {
                    **encoder(encoders.get(FULL)),
                    "paths.backward_encoder": str(encoders.get(BACKWARD)),
                },
            ),
        }[name]
        return Row(
            name,
            self.n_train,
            config_file(config),
            {**self.settings, **overrides},
            "model-last",
            self.test,
        )


def encoder(path: Optional[Path]) -> Dict[str, str]:
    """Return the setting that names a classifier's language model."""
    return {"paths.encoder": "null" if path is None else str(path)}


if __name__ == "__main__":
    app()
