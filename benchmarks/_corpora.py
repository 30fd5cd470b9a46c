"""The text classification data of benchmarks/ulmfit.py, cut into parts.

Parts are chosen by fixed seeds and written once: JSON lines, which keep the text as it
was, and the same in spaCy's format.
"""

import lzma
import random
import re
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Sequence

import srsly
from _runs import prepare

Record = Dict[str, str]
# The title of an article in WikiText-2; headings below it have more than one sign.
_TITLE = re.compile(r" = [^=].* = ")


def read_records(path: Path) -> List[Record]:
    """Read lines of JSON with "text" and "label"; white space becomes single spaces."""
    reader = srsly.read_gzip_jsonl if path.suffix == ".gz" else srsly.read_jsonl
    return [
        {"text": plain(record["text"]), "label": record["label"]}
        for record in reader(path)
    ]


def plain(text: str) -> str:
    """Return a text without HTML's line breaks, on one line."""
    return " ".join(text.replace("<br />", " ").split())


def shuffled(records: Iterable[Record], seed: int) -> List[Record]:
    """Return records in a random order."""
    records = list(records)
    random.Random(seed).shuffle(records)
    return records


def choose(records: Sequence[Record], size: int, seed: int) -> List[Record]:
    """Return a random sample that has at least one record of each label."""
    order = shuffled(records, seed)
    first = {record["label"]: i for i, record in reversed(list(enumerate(order)))}
    needed = sorted(first.values())
    rest = (i for i in range(len(order)) if i not in set(needed))
    return [order[i] for i in [*needed, *rest][:size]]


def balanced(records: Iterable[Record], size: int) -> List[Record]:
    """Return the first records of each label, as many of each."""
    by_label: Dict[str, List[Record]] = {}
    for record in records:
        by_label.setdefault(record["label"], []).append(record)
    share = size // len(by_label)
    return [record for label in sorted(by_label) for record in by_label[label][:share]]


def texts(records: Sequence[Record]) -> List[Record]:
    """Return records without labels."""
    return [{"text": record["text"]} for record in records]


def write_corpus(records: Iterable[Record], folder: Path, name: str) -> Path:
    """Write a part as `name.jsonl` and `name.spacy`, unless it is there.

    RETURNS (Path): The file in spaCy's format.
    """
    target = folder / f"{name}.spacy"
    if not target.exists():
        write_texts(records, folder / f"{name}.jsonl")
        prepare("textcat-jsonl", folder / f"{name}.jsonl", target)
    return target


def write_texts(records: Iterable[Record], path: Path) -> Path:
    """Write lines of JSON, which `lm pretrain` reads too, unless they are there."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_jsonl(path, records)
    return path


def wikitext_articles(path: Path) -> Iterator[Record]:
    """Yield the articles of WikiText-2, line breaks kept."""
    lines: List[str] = []
    with lzma.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            if _TITLE.match(line) and lines:
                yield {"text": "".join(lines)}
                lines = []
            if lines or line.strip():
                lines.append(line)
    yield {"text": "".join(lines)}


def featured_text(data: Path, folder: Path, n_words: int) -> Path:
    """Write the first words of wiki-featured, whole lines, unless they are there."""
    path = folder / f"{n_words}.txt"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    with lzma.open(
        data / "wiki-featured" / "train.txt.xz", "rt", encoding="utf-8"
    ) as text:
        with temporary.open("w", encoding="utf-8") as file:
            for line in text:
                file.write(line)
                n_words -= len(line.split())
                if n_words <= 0:
                    break
    temporary.rename(path)
    return path


def unlabelled_reviews(path: Path, size: int) -> List[Record]:
    """Return a random sample of the unlabelled reviews, one a line in the file."""
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return shuffled(({"text": plain(line)} for line in file), seed=0)[:size]
