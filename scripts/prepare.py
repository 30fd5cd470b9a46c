"""Turn labelled data into spaCy's binary format, and into raw text for language models."""

import gzip
import random
from pathlib import Path
from typing import Iterable, Iterator, List, Optional, Tuple

import spacy
import srsly
import typer
from spacy.tokens import Doc, DocBin, Span

app = typer.Typer(help=__doc__, no_args_is_help=True)
LANGUAGE = typer.Option("en", help="Language of the tokenizer")
LIMIT = typer.Option(0, help="Most examples to keep, 0 for all")
DEV_SHARE = typer.Option(0.0, help="Share of the examples to split off as a dev part")
DEV_OUT = typer.Option(None, help="Where the dev part goes")
SEED = typer.Option(0, help="Seed of the split and of the choice of examples")


@app.command("ner-jsonl")
def ner_jsonl(source: Path, target: Path, lang: str = LANGUAGE) -> None:
    """Convert {"text", "entities": [{"start", "end", "label"}]} lines."""
    nlp = spacy.blank(lang)
    docs = []
    for number, record in enumerate(srsly.read_jsonl(source), start=1):
        doc = nlp.make_doc(record["text"])
        spans = []
        for entity in record["entities"]:
            span = doc.char_span(
                entity["start"],
                entity["end"],
                label=entity["label"],
                alignment_mode="expand",
            )
            if span is None:
                raise ValueError(f"{source}, line {number}: no text at {entity}.")
            spans.append(span)
        doc.set_ents(spans)
        docs.append(doc)
    _save(docs, target)


@app.command("ner-conll")
def ner_conll(
    source: Path, target: Path, lang: str = LANGUAGE, limit: int = LIMIT
) -> None:
    """Convert token and IOB2 tag lines, a blank line between sentences.

    Universal NER's .iob2 files are read too: token number, token, tag.
    """
    vocab = spacy.blank(lang).vocab
    docs = []
    for words, tags in _read_conll(source):
        doc = Doc(vocab, words=words)
        doc.set_ents(list(_iob_spans(doc, tags)))
        docs.append(doc)
        if limit and len(docs) == limit:
            break
    _save(docs, target)


@app.command("textcat-jsonl")
def textcat_jsonl(
    source: Path,
    target: Path,
    lang: str = LANGUAGE,
    limit: int = LIMIT,
    dev_share: float = DEV_SHARE,
    dev_out: Optional[Path] = DEV_OUT,
    seed: int = SEED,
) -> None:
    """Convert {"text", "label"} lines; the dev part is the same for every limit."""
    if dev_share and dev_out is None:
        raise typer.BadParameter("--dev-share needs --dev-out, or the part is lost.")
    records = list(_read_jsonl(source))
    labels = sorted({record["label"] for record in records})
    random.Random(seed).shuffle(records)
    n_dev = round(dev_share * len(records))
    dev, train = records[:n_dev], records[n_dev:]
    nlp = spacy.blank(lang)
    _save(_labelled(nlp, train[: limit or None], labels), target)
    if dev_out is not None:
        _save(_labelled(nlp, dev, labels), dev_out)


@app.command("raw")
def raw(sources: List[Path], target: Path = typer.Option(..., "--output")) -> None:
    """Write the texts of .spacy, .jsonl or .txt files as raw text, one a line."""
    target.parent.mkdir(parents=True, exist_ok=True)
    n_texts = 0
    with target.open("w", encoding="utf-8") as file:
        for source in sources:
            for text in _read_texts(source):
                file.write(" ".join(text.split()) + "\n")
                n_texts += 1
    print(f"Wrote {n_texts} texts to {target}")


def _labelled(nlp: spacy.Language, records: list, labels: List[str]) -> Iterator[Doc]:
    for record in records:
        doc = nlp.make_doc(record["text"])
        doc.cats = {label: float(label == record["label"]) for label in labels}
        yield doc


def _read_texts(source: Path) -> Iterator[str]:
    if source.suffix == ".spacy":
        vocab = spacy.blank("en").vocab
        yield from (doc.text for doc in DocBin().from_disk(source).get_docs(vocab))
    elif source.suffix == ".txt":
        with source.open(encoding="utf-8") as file:
            yield from (line for line in file if line.strip())
    else:
        yield from (record["text"] for record in _read_jsonl(source))


def _read_jsonl(path: Path) -> Iterator[dict]:
    path = _existing(path)
    reader = srsly.read_gzip_jsonl if path.suffix == ".gz" else srsly.read_jsonl
    yield from reader(path)


def _existing(path: Path) -> Path:
    """Return the file, or the same one without or with compression."""
    for candidate in (path, path.with_suffix(""), path.with_name(f"{path.name}.gz")):
        if candidate.is_file():
            return candidate
    raise typer.BadParameter(
        f"There is no file {path}; docs/data.md says what a data folder holds."
    )


def _read_conll(path: Path) -> Iterator[Tuple[List[str], List[str]]]:
    path = _existing(path)
    opener = gzip.open if path.suffix == ".gz" else open
    words: List[str] = []
    tags: List[str] = []
    with opener(path, "rt", encoding="utf-8") as file:
        for line in [*file, "\n"]:
            if line.startswith("# "):
                continue
            if line.strip():
                fields = line.rstrip("\n").split("\t")
                if len(fields) < 2:
                    raise typer.BadParameter(f"{path}: no token and tag in {line!r}.")
                word, tag = fields[:2] if len(fields) == 2 else fields[1:3]
                words.append(word)
                # Universal NER's marks for other names, and a slip of its tool.
                tags.append("O" if tag.endswith(("-O", "-OTH")) else tag)
            elif words:
                yield words, tags
                words, tags = [], []


def _iob_spans(doc: Doc, tags: List[str]) -> Iterator[Span]:
    start = None
    for i, tag in enumerate([*tags, "O"]):
        if start is not None and not tag.startswith("I-"):
            yield Span(doc, start, i, label=tags[start][2:])
            start = None
        if tag.startswith("B-"):
            start = i


def _save(docs: Iterable[Doc], target: Path) -> None:
    docs = list(docs)
    target.parent.mkdir(parents=True, exist_ok=True)
    DocBin(docs=docs, store_user_data=False).to_disk(target)
    print(f"Wrote {len(docs)} examples to {target}")


if __name__ == "__main__":
    app()
