"""What the shipped biLM is worth to a part-of-speech tagger with a convolutional encoder.

    python benchmarks/tagger.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. The training part is
the first sentences of UD English EWT; the score is the accuracy of the fine-grained
tags (Penn Treebank) on the whole dev part, in spaCy's own tokens. Runs and results are
kept as in benchmarks/transfer.py.
"""

import gzip
from itertools import islice
from pathlib import Path

import typer
from _runs import DATA, JOBS, SEEDS, WORK, Row, config_file, run_table
from spacy.tokens import DocBin
from spacy.training.converters import conllu_to_docs


def main(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    limit: int = typer.Option(2000, help="Training sentences"),
    steps: int = typer.Option(600, help="Training steps"),
) -> None:
    """Tagging UD English EWT: a frozen biLM beside the embedding, against none."""
    corpus, source = work / "ud-english-ewt" / "corpus", data / "ud-english-ewt"
    convert(source / "en_ewt-ud-train.conllu.gz", corpus / "train.spacy", limit)
    convert(source / "en_ewt-ud-dev.conllu.gz", corpus / "dev.spacy")
    paths = {
        "paths.train": str(corpus / "train.spacy"),
        "paths.dev": str(corpus / "dev.spacy"),
        "training.max_steps": str(steps),
        # Every run has all its steps.
        "training.patience": "0",
    }
    rows = [
        Row("baseline", limit, config_file("tagger_baseline"), paths),
        Row("elmo", limit, config_file("tagger_elmo"), paths),
    ]
    run_table("tagger", rows, "tag_acc", work, seeds, jobs)


def convert(source: Path, target: Path, limit: int = 0) -> None:
    """Convert a compressed CoNLL-U file, one document per sentence.

    source (Path): The file.
    target (Path): Where the documents go.
    limit (int): Most sentences to keep, 0 for all.
    """
    with gzip.open(source, "rt", encoding="utf-8") as file:
        docs = conllu_to_docs(file.read(), n_sents=1, no_print=True)
        target.parent.mkdir(parents=True, exist_ok=True)
        DocBin(docs=islice(docs, limit or None)).to_disk(target)


if __name__ == "__main__":
    typer.run(main)
