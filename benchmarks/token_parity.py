"""Whether the token rules "v2" give the tokens that fastai 2 gives, and how fast.

    python benchmarks/token_parity.py --data DIR --fastai-python PATH

DIR holds `trec6`, `imdb`, `agnews` and `wiki-featured`; PATH is the Python of an environment
with fastai 2 and the same spaCy. Texts are read as they are, markup and line breaks too.
Exits with 1 if fewer than 99.9 % of the texts of a set have equal tokens.
"""

import json
import lzma
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import spacy
import srsly
import typer

from spacy_elmo_ulmfit.text import create_lm_tokenizer

RESULTS = Path(__file__).parent / "results"
PROGRAM = Path(__file__).parent / "fastai_side" / "tokens.py"
SIZES = {"trec6": 6000, "agnews": 4000, "imdb": 1000, "wiki-featured": 3000}
SHARE = 0.999
N_SHOWN = 20
NOTES = """\
Documents per second of processor time in one process, medians of {repeats} runs with fresh
tokenizers. "rules" is what reads a finished `Doc`; "with the Doc" counts the tokenizer that
makes the `Doc` as well, as a pipeline does. fastai {fastai}, spaCy {spacy} on both sides.
"""


class Reading(NamedTuple):
    """The tokens of texts and how long they took.

    tokens (List[List[str]]): The tokens of each text.
    docs (List[float]): Seconds for the documents, one number for each run.
    rules (List[float]): Seconds for the rules.
    """

    tokens: List[List[str]]
    docs: List[float]
    rules: List[float]


def main(
    data: Path = typer.Option(..., help="Folder with the data sets"),
    fastai_python: Path = typer.Option(..., help="Python with fastai 2"),
    repeats: int = typer.Option(3, help="Runs to take the median of"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Compare all sets and print the table."""
    sets = {name: read_texts(data / name)[:size] for name, size in SIZES.items()}
    fastai = read_by_fastai(fastai_python, sets, repeats)
    if fastai["spacy"] != spacy.__version__:
        raise typer.BadParameter(
            f"fastai's environment has spaCy {fastai['spacy']}, this one "
            f"{spacy.__version__}. Install the same version in both."
        )
    rows = {}
    for name, texts in sets.items():
        own = read(texts, repeats)
        expected = fastai["tokens"][name]
        report_differences(name, texts, own.tokens, expected)
        rows[name] = compare(own, expected, fastai["seconds"][name])
    versions = {
        "repeats": repeats,
        "fastai": fastai["fastai"],
        "spacy": fastai["spacy"],
    }
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "token-parity.json", {**versions, "sets": rows})
    table = format_table(rows) + "\n" + NOTES.format(**versions)
    (output / "token-parity.md").write_text(table, encoding="utf-8")
    typer.echo(table)
    if any(row["equal"] < SHARE * row["texts"] for row in rows.values()):
        raise typer.Exit(1)


def read_texts(folder: Path) -> List[str]:
    """Return the texts of a data set's training part, as they are."""
    path = folder / "train.jsonl.gz"
    if path.exists():
        return [record["text"] for record in srsly.read_gzip_jsonl(path)]
    with lzma.open(folder / "train.txt.xz", "rt", encoding="utf-8") as file:
        return [line.rstrip("\n") for line in file if line.strip()]


def read_by_fastai(
    python: Path, sets: Dict[str, List[str]], repeats: int
) -> Dict[str, Any]:
    """Return what fastai makes of the texts."""
    with tempfile.TemporaryDirectory() as folder:
        texts, result = Path(folder) / "texts.json", Path(folder) / "tokens.json"
        texts.write_text(json.dumps(sets), encoding="utf-8")
        command = [str(python), str(PROGRAM), str(texts), str(result), str(repeats)]
        subprocess.run(command, check=True)
        found: Dict[str, Any] = json.loads(result.read_text(encoding="utf-8"))
    return found


def read(texts: List[str], repeats: int) -> Reading:
    """Tokenise texts here."""
    result = Reading([], [], [])
    for _ in range(repeats):
        nlp, tokenizer = spacy.blank("en"), create_lm_tokenizer("v2", "en")
        # Both are set up before the clock runs, as fastai's is.
        tokenizer(nlp.make_doc(""))
        start = time.process_time()
        docs = [nlp.make_doc(text) for text in texts]
        result.docs.append(time.process_time() - start)
        start = time.process_time()
        tokens = [tokenizer.words(doc) for doc in docs]
        result.rules.append(time.process_time() - start)
    return result._replace(tokens=tokens)


def report_differences(
    name: str, texts: List[str], own: List[List[str]], expected: List[List[str]]
) -> None:
    """Print the texts whose tokens differ, from the first token that does."""
    differing = [i for i in range(len(texts)) if own[i] != expected[i]]
    for i in differing[:N_SHOWN]:
        pairs = list(zip(own[i], expected[i]))
        first = next((j for j, (a, b) in enumerate(pairs) if a != b), len(pairs))
        part = slice(max(0, first - 3), first + 3)
        typer.echo(f"{name} {i}: {own[i][part]} here, {expected[i][part]} by fastai")


def compare(
    own: Reading, expected: List[List[str]], seconds: List[float]
) -> Dict[str, float]:
    """Count equal texts and compare speeds."""
    n_texts = len(expected)
    total = [docs + rules for docs, rules in zip(own.docs, own.rules)]
    fastai, rules, whole = map(statistics.median, (seconds, own.rules, total))
    return {
        "texts": n_texts,
        "tokens": sum(map(len, expected)),
        "equal": sum(a == b for a, b in zip(own.tokens, expected)),
        "fastai docs/s": round(n_texts / fastai, 1),
        "rules docs/s": round(n_texts / rules, 1),
        "with the Doc docs/s": round(n_texts / whole, 1),
        "rules / fastai": round(fastai / rules, 2),
        "with the Doc / fastai": round(fastai / whole, 2),
    }


def format_table(rows: Dict[str, Dict[str, float]]) -> str:
    """Return the results as a table."""
    names = list(next(iter(rows.values())))
    lines = [f"| set | {' | '.join(names)} |", "| --- |" + " ---: |" * len(names)]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(f'{row[key]:,}' for key in names)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
