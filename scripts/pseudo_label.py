"""Label texts by trained classifiers where these are sure, to train on more of them.

    python scripts/pseudo_label.py training/textcat/model-best --texts unlabelled.txt \\
        --labelled train.spacy --exclude dev.spacy --output corpus/more.spacy

Several pipelines are averaged.
"""

from collections import Counter
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

import srsly
import typer
from ensemble import is_exclusive, load_classifiers, mean_cats
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from wasabi import msg

from spacy_elmo_ulmfit.cli._util import user_errors
from spacy_elmo_ulmfit.explain.error_analysis import find_categorizer
from spacy_elmo_ulmfit.pretraining.corpus.corpora import RawTextReader
from spacy_elmo_ulmfit.replacing import replacing
from spacy_elmo_ulmfit.vectors.docbin import load_docbin


class Guess(NamedTuple):
    """A text and what the classifiers take it for.

    text (str): The text.
    label (str): The likeliest label.
    confidence (float): Its mean probability.
    """

    text: str
    label: str
    confidence: float


def main(
    pipelines: List[str] = typer.Argument(..., help="Pipelines with a text classifier"),
    texts: Path = typer.Option(..., help="Unlabelled text, one document per line"),
    labelled: Path = typer.Option(..., help="Labelled texts to add to, a .spacy file"),
    output: Path = typer.Option(..., help="Where all go, a .spacy file"),
    exclude: List[Path] = typer.Option(
        [], help="Texts never to train on, such as those of the dev part"
    ),
    confidence: float = typer.Option(
        0.9, help="Least probability of a label", min=0, max=1
    ),
    per_label: int = typer.Option(
        0, help="Most texts added per label, the surest first; 0 for no limit", min=0
    ),
    report: Optional[Path] = typer.Option(None, help="Where the counts go, JSON"),
) -> None:
    """Write the labelled texts and those that get a label."""
    with user_errors():
        nlps, labels = _load(pipelines)
        nlp = nlps[0]
        known = _read_labelled(labelled, nlp, labels)
        forbidden = _texts_of(exclude, nlp) | {_normal(doc.text) for doc in known}
        counts: Counter = Counter()
        candidates = list(_new_texts(RawTextReader(texts).texts(), forbidden, counts))
        guesses = _guess(nlps, candidates, labels)
        chosen = _choose(guesses, confidence, per_label, counts)
        docs = known + [_labelled_doc(nlp, guess, labels) for guess in chosen]
        _write(docs, output)
        facts = _facts(known, chosen, labels, counts, confidence)
        if report is not None:
            report.parent.mkdir(parents=True, exist_ok=True)
            srsly.write_json(report, facts)
        _print(facts)
        msg.good(f"Wrote {len(docs)} texts to {output}")


def _load(pipelines: Sequence[str]) -> Tuple[List[Language], List[str]]:
    """Return the pipelines and their labels."""
    nlps = load_classifiers(pipelines)
    pipe = find_categorizer(nlps[0])
    if not is_exclusive(pipe):
        raise ValueError(
            f"The labels of {pipelines[0]} do not exclude each other; pseudo-labels are "
            "given for exclusive ones alone."
        )
    return nlps, list(pipe.labels)


def _read_labelled(path: Path, nlp: Language, labels: Sequence[str]) -> List[Doc]:
    docs = list(load_docbin(path).get_docs(nlp.vocab))
    strange = sorted({label for doc in docs for label in doc.cats} - set(labels))
    if strange:
        raise ValueError(
            f"{path} has the label {strange[0]!r}, which the classifier does not know; "
            f"it has {', '.join(labels)}."
        )
    return docs


def _texts_of(paths: Sequence[Path], nlp: Language) -> Set[str]:
    return {
        _normal(doc.text)
        for path in paths
        for doc in load_docbin(path).get_docs(nlp.vocab)
    }


def _normal(text: str) -> str:
    """Return what two copies of a text have in common."""
    return " ".join(text.casefold().split())


def _new_texts(
    texts: Iterator[str], forbidden: Set[str], counts: Counter
) -> Iterator[str]:
    """Yield each text once, none of the forbidden ones, and count."""
    seen: Set[str] = set()
    for text in texts:
        counts["read"] += 1
        normal = _normal(text)
        if normal in forbidden:
            counts["labelled or excluded"] += 1
        elif normal in seen:
            counts["repeated"] += 1
        else:
            seen.add(normal)
            yield text


def _guess(
    nlps: Sequence[Language], texts: List[str], labels: Sequence[str]
) -> List[Guess]:
    scored = [[doc.cats for doc in nlp.pipe(texts)] for nlp in nlps]
    guesses = []
    for text, *members in zip(texts, *scored):
        means = mean_cats({label: cats[label] for label in labels} for cats in members)
        label = max(means, key=lambda name: means[name])
        guesses.append(Guess(text, label, means[label]))
    return guesses


def _choose(
    guesses: Sequence[Guess], confidence: float, per_label: int, counts: Counter
) -> List[Guess]:
    """Keep the surest texts of each label, and count the others."""
    kept: List[Guess] = []
    per_guess: Counter = Counter()
    for guess in sorted(guesses, key=lambda guess: -guess.confidence):
        per_guess[guess.label] += 1
        if guess.confidence < confidence:
            counts["unsure"] += 1
        elif per_label and per_guess[guess.label] > per_label:
            counts["above the limit"] += 1
        else:
            kept.append(guess)
    if not kept:
        raise ValueError(
            f"No text gets a label with a probability of {confidence}: lower "
            "--confidence, give more texts, or train better classifiers first."
        )
    return kept


def _labelled_doc(nlp: Language, guess: Guess, labels: Sequence[str]) -> Doc:
    doc = nlp.make_doc(guess.text)
    doc.cats = {label: float(label == guess.label) for label in labels}
    return doc


def _write(docs: List[Doc], output: Path) -> None:
    with replacing(output) as temporary:
        DocBin(docs=docs).to_disk(temporary)


def _facts(
    known: Sequence[Doc],
    chosen: Sequence[Guess],
    labels: Sequence[str],
    counts: Counter,
    confidence: float,
) -> Dict[str, Any]:
    before = Counter(label for doc in known for label in doc.cats if doc.cats[label])
    added = Counter(guess.label for guess in chosen)
    return {
        "confidence": confidence,
        "texts": dict(counts),
        "labelled": {label: before[label] for label in labels},
        "added": {label: added[label] for label in labels},
    }


def _print(facts: Dict[str, Any]) -> None:
    labelled, added = facts["labelled"], facts["added"]
    rows = [(label, labelled[label], added[label]) for label in labelled]
    rows.append(("all", sum(labelled.values()), sum(added.values())))
    header = ("label", "labelled", "added")
    msg.table(rows, header=header, aligns=("l", "r", "r"), divider=True)
    msg.table(list(facts["texts"].items()), aligns=("l", "r"))
    without = [label for label, n in added.items() if not n]
    if without:
        msg.warn(f"No text was added for: {', '.join(without)}")


if __name__ == "__main__":
    typer.run(main)
