"""What the shipped language models are worth: the same networks with and without them.

    python benchmarks/transfer.py uner-ewt --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Every run is a plain
`spacy train` in a folder of its own; a run that is there already is not repeated, so
an interrupted benchmark goes on where it stopped. Results go to benchmarks/results.
"""

from pathlib import Path

import typer
from _runs import DATA, JOBS, SEEDS, WORK, Row, config_file, prepare, run_table

app = typer.Typer(help=__doc__, no_args_is_help=True)


@app.callback()
def main() -> None:
    """Choose a task."""


@app.command("uner-ewt")
def uner_ewt(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    limit: int = typer.Option(3000, help="Training sentences"),
    steps: int = typer.Option(600, help="Training steps"),
) -> None:
    """NER on Universal NER English EWT: [x; ELMo], frozen biLM, against x alone."""
    corpus = work / "uner-ewt" / "corpus"
    source = data / "uner-ewt"
    prepare(
        "ner-conll",
        source / "train.conll.gz",
        corpus / "train.spacy",
        f"--limit={limit}",
    )
    prepare("ner-conll", source / "dev.conll.gz", corpus / "dev.spacy")
    paths = {
        "paths.train": str(corpus / "train.spacy"),
        "paths.dev": str(corpus / "dev.spacy"),
        "training.max_steps": str(steps),
    }
    rows = [
        Row("baseline", limit, config_file("ner_baseline"), paths),
        Row("elmo", limit, config_file("ner_elmo"), paths),
    ]
    run_table("uner-ewt", rows, "ents_f", work, seeds, jobs)


if __name__ == "__main__":
    app()
