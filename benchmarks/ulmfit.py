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

from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence

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
    SEEDS,
    WORK,
    Row,
    commit,
    config_file,
    machine,
    markdown_table,
    run_rows,
    spacy_command,
    summarize,
)
from wasabi import msg

from spacy_elmo_ulmfit.pretraining.checkpoint import CHECKPOINT_FILE

app = typer.Typer(help=__doc__, no_args_is_help=True)
SHIPPED = ROOT / "assets" / "models" / "en_ulmfit_sm"
FULL = "pretraining + LM fine-tuning"
NO_FINETUNING = "pretraining, no LM fine-tuning"
NO_PRETRAINING = "LM on the task's text only"
SCRATCH = "from scratch"
ENSEMBLE = "spaCy textcat ensemble"
TFIDF = "linear TF-IDF"


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


@app.command("trec6")
def trec6(
    data: Path = DATA, work: Path = WORK, seeds: int = SEEDS, jobs: int = JOBS
) -> None:
    """TREC-6 with the shipped AWD-LSTM, 100, 500 and all labels."""
    folder = work / "trec6"
    corpus = folder / "corpus"
    records = shuffled(read_records(data / "trec6" / "train.jsonl.gz"), seed=0)
    n_dev = round(0.1 * len(records))
    dev, train = records[:n_dev], records[n_dev:]
    sizes = [
        few_labels(train, corpus, 100, seeds, steps=400),
        few_labels(train, corpus, 500, seeds, steps=600),
        few_labels(train, corpus, len(train), seeds, steps=1000, batch_size=32),
    ]
    paths = {
        "paths.train": write_texts(texts(train), corpus / "lm_train.jsonl"),
        "paths.dev": write_texts(texts(dev), corpus / "lm_dev.jsonl"),
    }
    tuned = finetune(folder / "lm", SHIPPED, {**paths, "lm.max_steps": 400})
    encoders = {FULL: tuned, NO_FINETUNING: SHIPPED, SCRATCH: None}
    report("trec6", encoders, sizes, dev, {}, work, seeds, jobs)


def few_labels(
    records: Sequence[Record],
    corpus: Path,
    labels: int,
    seeds: int,
    *,
    steps: int,
    batch_size: int = 16,
) -> Size:
    """Write a sample of labelled texts for each seed; all texts are one sample."""
    if labels == len(records):
        name = "train"
        write_corpus(records, corpus, name)
    else:
        name = f"train_{labels}_{{seed}}"
        for seed in range(seeds):
            write_corpus(
                choose(records, labels, seed), corpus, name.format(seed=seed)
            )
    return Size(labels, str(corpus / f"{name}.spacy"), steps, batch_size)


def texts(records: Sequence[Record]) -> List[Record]:
    """Return records without labels."""
    return [{"text": record["text"]} for record in records]


def finetune(output: Path, source: Path, settings: Dict[str, Any]) -> Path:
    """Continue a language model; return the pipeline."""
    return language_model("finetune", "awd_lstm_finetune", output, settings, source)
