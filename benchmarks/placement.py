"""Where ELMo's vectors go in a task network: at its output, at both ends, into an LSTM.

    python benchmarks/placement.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. Task and settings are
those of `benchmarks/transfer.py uner-ewt`, which has the rows without ELMo and with
ELMo at the input. Runs and results are kept as there.
"""

from pathlib import Path

import typer
from _runs import DATA, JOBS, SEEDS, WORK, Row, config_file, prepare, run_table

ROWS = ("elmo_output", "elmo_both", "elmo_bilstm")


def main(
    data: Path = DATA,
    work: Path = WORK,
    seeds: int = SEEDS,
    jobs: int = JOBS,
    limit: int = typer.Option(3000, help="Training sentences"),
    steps: int = typer.Option(600, help="Training steps"),
) -> None:
    """NER on Universal NER English EWT with other networks around a frozen biLM."""
    corpus, source = work / "placement" / "corpus", data / "uner-ewt"
    train, dev = corpus / "train.spacy", corpus / "dev.spacy"
    prepare("ner-conll", source / "train.conll.gz", train, f"--limit={limit}")
    prepare("ner-conll", source / "dev.conll.gz", dev)
    settings = {
        "paths.train": str(train),
        "paths.dev": str(dev),
        "training.max_steps": str(steps),
        # Every run has all its steps.
        "training.patience": "0",
    }
    rows = [Row(name, limit, config_file(f"ner_{name}"), settings) for name in ROWS]
    run_table("placement", rows, "ents_f", work, seeds, jobs)


if __name__ == "__main__":
    typer.run(main)
