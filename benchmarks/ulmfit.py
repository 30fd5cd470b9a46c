"""ULMFiT with few labels: what each of its stages is worth.

    python benchmarks/ulmfit.py trec6 --data DATA
    python benchmarks/ulmfit.py agnews --data DATA
    python benchmarks/ulmfit.py imdb --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Language models are
trained by `lm pretrain` and `lm finetune`, classifiers by plain `spacy train`, each in a
folder of its own; what is there already is not repeated, and an interrupted language
model goes on from its checkpoint. The last model of a run is scored, so the dev part
chooses nothing. Results go to benchmarks/results.
"""

import statistics
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import srsly
import typer
from _corpora import (
    Record,
    balanced,
    choose,
    read_records,
    shuffled,
    unlabelled_reviews,
    wikitext_articles,
    write_corpus,
    write_texts,
)
from _runs import (
    ACCURACY,
    DATA,
    JOBS,
    RESULTS,
    ROOT,
    WORK,
    Row,
    commit,
    config_file,
    finished_runs,
    machine,
    markdown_table,
    run_rows,
    spacy_command,
    summarize,
)
from matplotlib.figure import Figure
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import checkpoint_files

SEEDS = typer.Option(
    3, help="Runs per row, with seeds 0, 1, ...; 0 to write down those that are there"
)
app = typer.Typer(help=__doc__, no_args_is_help=True)
SHIPPED = ROOT / "assets" / "models" / "en_ulmfit_sm"
FULL = "pretraining + LM fine-tuning"
NO_FINETUNING = "pretraining, no LM fine-tuning"
NO_PRETRAINING = "LM on the task's text only"
SCRATCH = "from scratch"
ENSEMBLE = "spaCy textcat ensemble"
TFIDF = "linear TF-IDF"
# Sizes of the language model that fastai was measured with on the same data.
SMALL = {"embedding_dim": "128", "hidden_dim": "256", "n_layers": "3"}
# Random weights learn next to nothing under the dropouts of pretrained ones.
SCRATCH_SETTINGS = {"components.textcat.model.drop_mult": "0.1"}
NOTES = (
    "All layers learn from the first step on, at one rate: in a few hundred steps that "
    "was better on other training texts than the paper's stages (docs/ulmfit.md). A seed "
    "sets weights, order and, where there are more, the choice of labelled texts, which "
    "has each label at least once. The last model of a run is scored, not the best."
)


class Size(NamedTuple):
    """How classifiers are trained with some number of labels.

    labels (int): Labelled training texts.
    train (str): Path of the corpus; `{seed}` in it is replaced by the seed.
    steps (int): Updates.
    batch_size (int): Texts per update.
    """

    labels: int
    train: str
    steps: int
    batch_size: int


class Task(NamedTuple):
    """What a benchmark compares.

    name (str): Name of the data set.
    encoders (Dict[str, Optional[Path]]): Pipeline with the AWD-LSTM that each row
        starts from, `None` for random weights.
    sizes (Sequence[Size]): Numbers of labels.
    dev (Path): Corpus the classifiers are scored on.
    model (Dict[str, str]): Settings of the classifier's architecture.
    notes (str): What a reader of the table must know.
    """

    name: str
    encoders: Dict[str, Optional[Path]]
    sizes: Sequence[Size]
    dev: Path
    model: Dict[str, str]
    notes: str


@app.command("trec6")
def trec6(
    data: Path = DATA, work: Path = WORK, seeds: int = SEEDS, jobs: int = JOBS
) -> None:
    """TREC-6 with the shipped AWD-LSTM: 100, 500 and all labels."""
    folder = work / "trec6"
    corpus = folder / "corpus"
    records = shuffled(read_records(data / "trec6" / "train.jsonl.gz"), seed=0)
    n_dev = round(0.1 * len(records))
    dev, train = records[:n_dev], records[n_dev:]
    sizes = [
        labelled(train, corpus, 100, seeds, steps=120),
        labelled(train, corpus, 500, seeds, steps=200),
        labelled(train, corpus, len(train), seeds, steps=250, batch_size=64),
    ]
    text = {
        "paths.train": write_texts(texts(train), corpus / "lm_train.jsonl"),
        "paths.dev": write_texts(texts(dev), corpus / "lm_dev.jsonl"),
    }
    tuned = finetune(
        folder / "lm", SHIPPED, {**text, "lm.max_steps": 400, "lm.eval_frequency": 100}
    )
    task = Task(
        "trec6",
        {FULL: tuned, NO_FINETUNING: SHIPPED, SCRATCH: None},
        sizes,
        write_corpus(dev, corpus, "dev"),
        {},
        f"{len(dev)} questions of the training part are held out. The language model "
        "was pretrained on Wikipedia for 57 minutes on one CPU core "
        "(`assets/models/en_ulmfit_sm`) and fine-tuned on the questions without labels.",
    )
    report(task, work, seeds, jobs)


@app.command("agnews")
def agnews(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    pretraining_steps: int = typer.Option(1028, help="Steps on WikiText-2"),
) -> None:
    """AG News with a small AWD-LSTM pretrained on WikiText-2: 100 and 500 labels."""
    folder = work / "agnews"
    corpus = folder / "corpus"
    records = shuffled(read_records(data / "agnews" / "train.jsonl.gz"), seed=0)
    unlabelled = records[:8000]
    dev = read_records(data / "agnews" / "dev.jsonl.gz")[:1000]
    wikitext = wikitext_texts(data / "wikitext-2", corpus)
    text = {
        "paths.train": write_texts(texts(unlabelled), corpus / "lm_train.jsonl"),
        "paths.dev": write_texts(texts(dev), corpus / "lm_dev.jsonl"),
    }
    pretrained = pretrain(folder / "lm_wikitext2", wikitext, pretraining_steps, 0.1)
    # An epoch has 97 steps. The first one trains embedding and decoder alone.
    common = {
        **text,
        "lm.vocabulary": "replace",
        "lm.max_vocab": 60000,
        "lm.batch_size": 64,
        "lm.bptt": 72,
    }
    adapted = finetune(
        folder / "lm_adapted",
        pretrained,
        {
            **common,
            "lm.trainable_groups": 1,
            "lm.max_steps": 97,
            "lm.eval_frequency": 97,
            "lm.learn_rate.max_rate": 0.02,
        },
    )
    tuned = finetune(
        folder / "lm_finetuned",
        adapted,
        {
            **common,
            "lm.max_steps": 291,
            "lm.eval_frequency": 97,
            "lm.learn_rate.max_rate": 0.005,
        },
    )
    task_only = pretrain(folder / "lm_task_only", text, 388, 0.3, min_freq=2)
    task = Task(
        "agnews",
        {
            FULL: tuned,
            NO_FINETUNING: pretrained,
            NO_PRETRAINING: task_only,
            SCRATCH: None,
        },
        [
            # As many epochs as fastai's runs had: 6,000 texts read, 32 at a time.
            labelled(unlabelled, corpus, 100, seeds, steps=190),
            labelled(unlabelled, corpus, 500, seeds, steps=190),
        ],
        write_corpus(dev, corpus, "dev"),
        {**SMALL, "drop_mult": "1.0"},
        "The first 1,000 texts of dev.jsonl.gz are scored. drop_mult = 1.0 (0.1 from "
        "scratch) was chosen on 1,000 other training texts. Language models read 8,000 "
        "training texts without labels; the labelled ones are chosen from these. fastai "
        "2.8.12 with the same data and sizes (3 seeds, its own choice of labelled texts, "
        "held-out perplexity 107.2 after WikiText-2) had errors of 30.1 and 23.0 % with "
        "all stages, 54.6 and 41.2 % without LM fine-tuning, 56.5 and 43.7 % without "
        "pretraining, 54.5 and 48.0 % from scratch.",
    )
    report(task, work, seeds, jobs)


@app.command("imdb")
def imdb(
    data: Path = DATA, work: Path = WORK, seeds: int = SEEDS, jobs: int = JOBS
) -> None:
    """IMDb with the shipped AWD-LSTM: 1,000 labels and 10,000 more reviews without."""
    folder = work / "imdb"
    corpus = folder / "corpus"
    records = shuffled(read_records(data / "imdb" / "train.jsonl.gz"), seed=0)
    train, dev = balanced(records, 1000), balanced(records[::-1], 1000)
    more = unlabelled_reviews(data / "imdb" / "unsup.txt.xz", 10_000)
    text = {
        "paths.train": write_texts([*texts(train), *more], corpus / "lm_train.jsonl"),
        "paths.dev": write_texts(texts(shuffled(dev, 0)[:50]), corpus / "lm_dev.jsonl"),
    }
    tuned = finetune(
        folder / "lm",
        SHIPPED,
        {
            **text,
            "lm.vocabulary": "replace",
            "lm.max_vocab": 16000,
            "lm.min_freq": 2,
            "lm.batch_size": 32,
            "lm.max_steps": 2000,
            "lm.eval_frequency": 500,
            "lm.checkpoint_frequency": 100,
        },
    )
    task = Task(
        "imdb",
        {FULL: tuned, NO_FINETUNING: SHIPPED, SCRATCH: None},
        [labelled(train, corpus, len(train), seeds, steps=240)],
        write_corpus(dev, corpus, "dev"),
        {"drop_mult": "0.3"},
        "1,000 other reviews are scored, half of them positive, as are the labelled "
        "ones. The language model was fine-tuned on the labelled and 10,000 more reviews. "
        "drop_mult = 0.3 was chosen on other training reviews.",
    )
    report(task, work, seeds, jobs)


def labelled(
    records: Sequence[Record],
    corpus: Path,
    labels: int,
    seeds: int,
    *,
    steps: int,
    batch_size: int = 32,
) -> Size:
    """Write a sample of labelled texts for each seed; all texts are one sample."""
    if labels == len(records):
        name = "train"
        write_corpus(records, corpus, name)
    else:
        name = f"train_{labels}_{{seed}}"
        for seed in range(seeds):
            write_corpus(choose(records, labels, seed), corpus, name.format(seed=seed))
    return Size(labels, str(corpus / f"{name}.spacy"), steps, batch_size)


def texts(records: Sequence[Record]) -> List[Record]:
    """Return records without labels."""
    return [{"text": record["text"]} for record in records]


def wikitext_texts(source: Path, corpus: Path) -> Dict[str, Path]:
    """Write the articles of WikiText-2; those held out are a third of its valid part."""
    train = wikitext_articles(source / "train.txt.xz")
    held_out = list(wikitext_articles(source / "valid.txt.xz"))[:20]
    return {
        "paths.train": write_texts(train, corpus / "wikitext2_train.jsonl"),
        "paths.dev": write_texts(held_out, corpus / "wikitext2_dev.jsonl"),
    }


def pretrain(
    output: Path,
    text: Mapping[str, Any],
    steps: int,
    drop_mult: float,
    *,
    min_freq: int = 3,
) -> Path:
    """Train a small AWD-LSTM from random weights; return the pipeline."""
    model = "components.awd_lstm_tok2vec.model"
    settings = {
        **text,
        **{f"{model}.{key}": value for key, value in SMALL.items()},
        f"{model}.tokens": "v2",
        "lm.max_vocab": 60000,
        "lm.min_freq": min_freq,
        "lm.bptt": 72,
        "lm.drop_mult": drop_mult,
        "lm.max_steps": steps,
        "lm.eval_frequency": max(1, steps // 4),
        "lm.checkpoint_frequency": 50,
        "lm.precision": "float32",
        "lm.learn_rate.max_rate": 0.01,
        "lm.learn_rate.cut_frac": 0.25,
    }
    return language_model(output, "pretrain", "awd_lstm", settings)


def finetune(output: Path, source: Path, settings: Mapping[str, Any]) -> Path:
    """Go on training a language model; return the pipeline."""
    settings = {"from": source, **settings}
    return language_model(output, "finetune", "awd_lstm_finetune", settings)


def language_model(
    output: Path, command: str, config: str, settings: Mapping[str, Any]
) -> Path:
    """Run a command of `spacy lm` to its end, unless that was done before."""
    last = output / "model-last"
    if not last.exists():
        resume = ["--resume"] if checkpoint_files(output) else []
        overrides = [
            part for key, value in settings.items() for part in (f"--{key}", value)
        ]
        arguments = ["--output", output, *resume, *overrides]
        spacy_command("lm", command, config_file(config), *arguments)
    return last


def report(task: Task, work: Path, seeds: int, jobs: int) -> None:
    """Train and score all classifiers, write and print results."""
    rows = [
        row
        for size in task.sizes
        for row in [
            *(ulmfit_row(task, size, name) for name in task.encoders),
            ensemble_row(task, size),
        ]
    ]
    if seeds:
        runs = run_rows(task.name, rows, work, seeds, jobs)
    else:
        runs = [found for found in finished_runs(task.name, rows, work) if found]
    n_seeds = max(map(len, runs))
    runs += [tfidf_runs(task, size, n_seeds) for size in task.sizes]
    summaries = [summarize(task.name, row_runs, ACCURACY) for row_runs in runs]
    result = {
        "machine": machine(),
        "notes": f"{task.notes} {NOTES}",
        "language_models": language_models(task),
        "rows": summaries,
        "runs": [run for row_runs in runs for run in row_runs],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"ulmfit-{task.name}.json"
    srsly.write_json(path, result)
    write_report(path)


@app.command("report")
def write_report(path: Path = typer.Argument(..., help="JSON file of results")) -> None:
    """Write table and plot of results that are there already."""
    result = srsly.read_json(path)
    table = error_table(result["rows"])
    msg.table(table[1:], header=table[0], divider=True)
    models = result["language_models"]
    parts = [markdown_table(table[0], table[1:]), result["notes"] + "\n"]
    if models:
        header = list(models[0])
        cells = [[str(value) for value in model.values()] for model in models]
        parts.append(markdown_table(header, cells))
    path.with_suffix(".md").write_text("\n".join(parts), encoding="utf-8")
    plot(result["rows"], path.with_suffix(".png"))


def ulmfit_row(task: Task, size: Size, name: str) -> Row:
    """Return the row of a classifier that starts from some language model."""
    encoder = task.encoders[name]
    overrides = {
        **training_settings(task, size),
        "paths.encoder": "null" if encoder is None else str(encoder),
        **{
            f"components.textcat.model.{key}": value
            for key, value in task.model.items()
        },
    }
    if encoder is None:
        overrides.update(SCRATCH_SETTINGS)
    return Row(
        name, size.labels, config_file("textcat_ulmfit"), overrides, "model-last"
    )


def ensemble_row(task: Task, size: Size) -> Row:
    """Return the row of spaCy's own text classifier."""
    overrides = training_settings(task, size)
    return Row(
        ENSEMBLE, size.labels, config_file("textcat_ensemble"), overrides, "model-last"
    )


def training_settings(task: Task, size: Size) -> Dict[str, str]:
    """Return what all classifiers have in common."""
    return {
        "paths.train": size.train,
        "paths.dev": str(task.dev),
        "training.max_steps": str(size.steps),
        # Only the last model counts, so a glance at the dev part is enough.
        "training.eval_frequency": str(size.steps),
        "corpora.dev.limit": "50",
        "training.batcher.size": str(size.batch_size),
    }


def tfidf_runs(task: Task, size: Size, seeds: int) -> List[Dict[str, Any]]:
    """Train and score a linear SVM on TF-IDF of words and pairs of words."""
    return [
        {
            "pipeline": TFIDF,
            "train_examples": size.labels,
            "seed": seed,
            "commit": commit(),
            "scores": {
                ACCURACY: tfidf_accuracy(
                    Path(size.train.replace("{seed}", str(seed))), task.dev
                )
            },
        }
        for seed in range(seeds)
    ]


def tfidf_accuracy(train: Path, dev: Path) -> float:
    """Return the share of dev texts that the linear model gets right."""
    (x_train, y_train), (x_dev, y_dev) = map(texts_and_labels, (train, dev))
    return float(linear_model().fit(x_train, y_train).score(x_dev, y_dev))


def linear_model() -> Any:
    """Return an untrained linear SVM on TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC()
    )


def texts_and_labels(corpus: Path) -> Tuple[List[str], List[str]]:
    """Read what `write_corpus` wrote beside a corpus in spaCy's format."""
    records = list(srsly.read_jsonl(corpus.with_suffix(".jsonl")))
    return [record["text"] for record in records], [
        record["label"] for record in records
    ]


def language_models(task: Task) -> List[Dict[str, Any]]:
    """Return what the language models' pipelines say about themselves."""
    models = []
    for name, path in task.encoders.items():
        if path is not None:
            meta = srsly.read_json(path / "meta.json")["language_model"]
            model = meta["awd_lstm_tok2vec"]
            keys = (
                "steps",
                "tokens_seen",
                "seconds",
                "perplexity",
                "oov_rate",
                "n_words",
            )
            models.append({"row": name, **{key: model[key] for key in keys}})
    return models


def error_table(rows: Sequence[Dict[str, Any]]) -> List[List[str]]:
    """Return errors in per cent, mean and standard deviation, a column per size."""
    sizes = sorted({row["train_examples"] for row in rows})
    names = list(dict.fromkeys(row["pipeline"] for row in rows))
    cells = {
        (row["pipeline"], row["train_examples"]): error_cell(row["scores"])
        for row in rows
    }
    table = [["error in %", *(f"{size:,} labels" for size in sizes)]]
    for name in names:
        table.append([name, *(cells.get((name, size), "") for size in sizes)])
    return table


def error_cell(scores: Sequence[float]) -> str:
    """Return mean and standard deviation of errors, and each of them."""
    errors = [100 * (1 - score) for score in scores]
    each = " ".join(f"{error:.1f}" for error in errors)
    spread = f" ± {statistics.stdev(errors):.1f}" if len(errors) > 1 else ""
    return f"{statistics.mean(errors):.1f}{spread} ({each})"


def plot(rows: Sequence[Dict[str, Any]], path: Path) -> None:
    """Draw the error of each row over the number of labels."""
    sizes = sorted({row["train_examples"] for row in rows})
    figure = Figure(figsize=(7, 4.5))
    axes = figure.subplots()
    for number, name in enumerate(dict.fromkeys(row["pipeline"] for row in rows)):
        own = [row for row in rows if row["pipeline"] == name]
        errors = [[100 * (1 - score) for score in row["scores"]] for row in own]
        # Side by side, so that the bars of the spread do not hide each other.
        x = [row["train_examples"] * 1.02 ** (number - 2) for row in own]
        axes.errorbar(
            x,
            [statistics.mean(values) for values in errors],
            yerr=[statistics.stdev(v) if len(v) > 1 else 0.0 for v in errors],
            marker="o",
            capsize=3,
            label=name,
        )
    axes.set_xscale("log")
    axes.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axes.minorticks_off()
    axes.set_xlabel("labelled texts")
    axes.set_ylabel("error in %")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
    axes.set_title(
        f"ULMFiT on {rows[0]['task']}: mean and standard deviation over seeds"
    )
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    app()
