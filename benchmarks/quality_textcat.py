"""What language models are worth to text classification: score, time, memory and size.

    python benchmarks/quality_textcat.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Runs, parts and results
are those of benchmarks/quality.py. Where the test part is not in DATA, a part of the
training texts, or the published dev part, takes its place.
"""

import pickle
import time
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Sequence

import typer
from _corpora import (
    Record,
    balanced,
    choose,
    read_records,
    shuffled,
    texts,
    unlabelled_reviews,
    write_corpus,
    write_texts,
)
from _language_models import LAST, SHIPPED, SHIPPED_BACKWARD, finetune
from _linear import TFIDF, linear_model, texts_and_labels
from _runs import (
    ACCURACY,
    DATA,
    GPU,
    JOBS,
    RUN,
    SEEDS,
    SHIPPED_BILM,
    WORK,
    Row,
    commit,
    config_file,
    in_new_process,
    in_parallel,
    peak_memory,
    processor,
)
from quality import ONLY, ROW, Extent, report, run_tasks
from ulmfit import ENSEMBLE, FULL, NO_FINETUNING, SCRATCH, SCRATCH_SETTINGS

BACKWARD, BOTH = "backward", "both directions"
ELMO, AWD_LSTM = "[x; ELMo], convolutions", "[x; AWD-LSTM], convolutions"
TELLING = (ENSEMBLE, ELMO, NO_FINETUNING, FULL)
# The rows with fine-tuned language models, and whose.
USES = MappingProxyType({FULL: (FULL,), BACKWARD: (BACKWARD,), BOTH: (FULL, BACKWARD)})
ALL = (ENSEMBLE, ELMO, AWD_LSTM, SCRATCH, NO_FINETUNING, FULL, BACKWARD, BOTH)


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
    steps (int): Updates of a training.
    lm_steps (int): Updates of the language model's fine-tuning.
    batch_size (int): Texts per update.
    lm_batch_size (int): Windows per update of the language model.
    model (Mapping[str, str]): Settings of ULMFiT's architecture.
    scratch (Mapping[str, str]): Settings of the classifier from scratch.
    """

    cut: Callable[[Path], Parts]
    rows: Sequence[str]
    steps: int
    lm_steps: int
    batch_size: int = 32
    lm_batch_size: int = 16
    model: Mapping[str, str] = MappingProxyType({})
    scratch: Mapping[str, str] = MappingProxyType(SCRATCH_SETTINGS)


def cut_train(size: int) -> Callable[[Path], Parts]:
    """Return what cuts dev and test from the training part, `size` texts each."""

    def cut(source: Path) -> Parts:
        records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
        return Parts(records[2 * size :], records[size : 2 * size], records[:size])

    return cut


def cut_dev_from_train(labels: int, unlabelled: int) -> Callable[[Path], Parts]:
    """Return what takes the published dev part as test, and cuts a dev part.

    labels (int): Labelled texts to keep.
    unlabelled (int): Further texts to keep, for language models.
    """

    def cut(source: Path) -> Parts:
        test = read_records(source / "dev.jsonl.gz")[:2000]
        records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
        dev, rest = records[: len(test)], shuffled(records[len(test) :], seed=0)
        return Parts(rest[:labels], dev, test, rest[labels : labels + unlabelled])

    return cut


def as_published(source: Path) -> Parts:
    """Take all three parts as they are."""
    names = ("train", "dev", "test")
    return Parts(*(read_records(source / f"{name}.jsonl.gz") for name in names))


def cut_imdb(source: Path) -> Parts:
    """Cut 1,000 reviews each for dev and test, half of them positive."""
    records = shuffled(read_records(source / "train.jsonl.gz"), seed=0)
    held_out = balanced(records[::-1], 2000)
    dev, test = (shuffled(half, seed=0) for half in (held_out[::2], held_out[1::2]))
    more = unlabelled_reviews(source / "unsup.txt.xz", 50_000)
    return Parts(shuffled(balanced(records, 1000), seed=0), dev, test, more)


# Chosen on dev parts. Few questions are soon learnt by heart by a language model; reviews
# are many. At the rate of the others, some random weights learn nothing of the news.
SLOWLY = {**SCRATCH_SETTINGS, "training.before_update.max_rate": "0.003"}
TASKS: Dict[str, Task] = {
    "trec6": Task(cut_train(545), ALL, 500, 200, batch_size=64),
    "agnews": Task(cut_dev_from_train(2000, 8000), TELLING, 250, 800, scratch=SLOWLY),
    "imdb": Task(
        cut_imdb,
        TELLING,
        240,
        6000,
        lm_batch_size=64,
        model=MappingProxyType({"drop_mult": "0.3"}),
    ),
    "sst2": Task(as_published, TELLING, 300, 400, batch_size=64),
    "sst5": Task(as_published, TELLING, 300, 400, batch_size=64),
    "dbpedia14-sample": Task(cut_dev_from_train(2000, 8000), TELLING, 250, 800),
}


def table(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    only: List[str] = ONLY,
    row: List[str] = ROW,
    gpu_id: int = GPU,
) -> None:
    """Compare all rows on TREC-6, and the telling ones on five more data sets."""
    extent = Extent(seeds, jobs, only, row, gpu_id)
    parts = {
        name: task.cut(data / name)
        for name, task in TASKS.items()
        if extent.includes(name) or any((work / name).glob(f"*/*/{RUN}"))
    }
    in_parallel(
        [
            call
            for name, own in parts.items()
            if extent.includes(name)
            for call in fine_tunings(TASKS[name], own, work / name, extent)
        ],
        jobs,
    )
    rows = {
        name: task_rows(name, TASKS[name], own, work) for name, own in parts.items()
    }
    runs = run_tasks(rows, work, extent)
    for name, task_runs in runs.items():
        if task_runs:
            task_runs.insert(0, [in_new_process(linear_run, rows[name][0], 0)])
    report("textcat", ACCURACY, runs)


def linear_run(row: Row, seed: int) -> Dict[str, Any]:
    """Train and score a linear model on the corpora of a run."""
    started = time.monotonic()
    train = Path(row.settings(seed)["paths.train"])
    model = linear_model().fit(*texts_and_labels(train))
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
        "seed": seed,
        "commit": commit(),
        "processor": processor(),
        "seconds": seconds,
        "peak_mb": peak_memory(),
        "disk_mb": round(len(pickle.dumps(model)) / 2**20, 1),
        **scores,
    }


def task_rows(
    name: str,
    task: Task,
    parts: Parts,
    work: Path,
    size: int = 0,
    seeds: int = 0,
) -> List[Row]:
    """Return the runs of a data set.

    size (int): Labels, chosen anew for each seed; 0 for all.
    seeds (int): Number of such choices.
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
    return [create(row, tuned_encoders(folder)) for row in task.rows]


def tuned_encoders(folder: Path) -> Dict[str, Path]:
    """Return where the fine-tuned language models of a data set are, by row."""
    return {
        FULL: folder / "lm" / LAST,
        BACKWARD: folder / "lm_backward" / LAST,
    }


def fine_tunings(
    task: Task, parts: Parts, folder: Path, extent: Extent
) -> List[Callable[[], Path]]:
    """Return what fine-tunes the language models that the wanted rows of a data set use."""
    corpus = folder / "corpus"
    settings = {
        "paths.train": write_texts(
            [*texts(parts.train), *texts(parts.more)], corpus / "lm_train.jsonl"
        ),
        "paths.dev": write_texts(texts(parts.dev[:200]), corpus / "lm_dev.jsonl"),
        "lm.max_steps": task.lm_steps,
        "lm.eval_frequency": max(1, task.lm_steps // 4),
        "lm.batch_size": task.lm_batch_size,
        "lm.checkpoint_frequency": 100,
    }
    sources = {FULL: SHIPPED, BACKWARD: SHIPPED_BACKWARD}
    wanted = [row for row in task.rows if not extent.rows or row in extent.rows]
    needed = {source for row in wanted for source in USES.get(row, ())}
    outputs = tuned_encoders(folder)
    return [
        partial(finetune, outputs[row].parent, source, settings, extent.gpu_id)
        for row, source in sources.items()
        if row in needed
    ]


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
            ELMO: ("textcat_elmo", {"paths.elmo": str(SHIPPED_BILM)}),
            AWD_LSTM: ("textcat_awd_lstm", encoder(SHIPPED)),
            SCRATCH: ("textcat_ulmfit", {**own, **self.task.scratch, **encoder(None)}),
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
    typer.run(table)
