"""ULMFiT's stages in the setting of fastai's runs: AG News after WikiText-2, few labels.

    python benchmarks/ulmfit.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Language models are
trained by `lm pretrain` and `lm finetune`, classifiers by plain `spacy train`, each in a
folder of its own; what is there already is not repeated, and an interrupted language
model goes on from its checkpoint. The last model of a run is scored, so the dev part
chooses nothing. Results go to benchmarks/results.
"""

import statistics
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence

import srsly
import typer
from _corpora import (
    Record,
    choose,
    read_records,
    shuffled,
    texts,
    wikitext_articles,
    write_corpus,
    write_texts,
)
from _language_models import finetune, language_model
from _linear import TFIDF, linear_model, texts_and_labels
from _runs import (
    ACCURACY,
    DATA,
    JOBS,
    RESULTS,
    SEEDS,
    WORK,
    Row,
    commit,
    config_file,
    machine,
    markdown_table,
    run_rows,
    summarize,
)
from matplotlib.figure import Figure
from wasabi import msg

NAME = "ulmfit-agnews"
FULL = "pretraining + LM fine-tuning"
NO_FINETUNING = "pretraining, no LM fine-tuning"
NO_PRETRAINING = "LM on the task's text only"
SCRATCH = "from scratch"
ENSEMBLE = "spaCy textcat ensemble"
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


def agnews(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    pretraining_steps: int = typer.Option(1028, help="Steps on WikiText-2"),
) -> None:
    """AG News with a small AWD-LSTM pretrained on WikiText-2: 100 and 500 labels."""
    folder = work / NAME
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
        NAME,
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


def labelled(
    records: Sequence[Record], corpus: Path, labels: int, seeds: int, *, steps: int
) -> Size:
    """Write a sample of labelled texts for each seed."""
    name = f"train_{labels}_{{seed}}"
    for seed in range(seeds):
        write_corpus(choose(records, labels, seed), corpus, name.format(seed=seed))
    return Size(labels, str(corpus / f"{name}.spacy"), steps, 32)


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
    runs = run_rows(task.name, rows, work, seeds, jobs)
    runs += [tfidf_runs(task, size, seeds) for size in task.sizes]
    summaries = [summarize(task.name, row_runs, ACCURACY) for row_runs in runs]
    result = {
        "machine": machine(),
        "notes": f"{task.notes} {NOTES}",
        "language_models": language_models(task),
        "rows": summaries,
        "runs": [run for row_runs in runs for run in row_runs],
    }
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{task.name}.json"
    srsly.write_json(path, result)
    table = error_table(summaries)
    msg.table(table[1:], header=table[0], divider=True)
    models = language_models(task)
    header = list(models[0])
    cells = [[str(value) for value in model.values()] for model in models]
    parts = [
        markdown_table(table[0], table[1:]),
        f"{task.notes} {NOTES}\n",
        markdown_table(header, cells),
    ]
    path.with_suffix(".md").write_text("\n".join(parts), encoding="utf-8")
    plot(summaries, path.with_suffix(".png"))


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
    axes.set_title("ULMFiT on AG News: mean and standard deviation over seeds")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    typer.run(agnews)
