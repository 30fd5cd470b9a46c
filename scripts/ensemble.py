"""Average trained text classifiers, such as those of several seeds, and score the mean.

    python scripts/ensemble.py training/seed0/model-best training/seed1/model-best \\
        --data corpus/test.spacy --output metrics/ensemble.json
"""

import statistics
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence

import srsly
import typer
from spacy.language import Language
from spacy.pipeline import MultiLabel_TextCategorizer
from spacy.scorer import Scorer
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from wasabi import msg

from spacy_elmo_ulmfit.cli._util import user_errors
from spacy_elmo_ulmfit.explain.error_analysis import find_categorizer, unannotated
from spacy_elmo_ulmfit.pipeline.source import load_pipeline
from spacy_elmo_ulmfit.vectors.docbin import load_docbin

Cats = Dict[str, float]
METRICS = ("cats_micro_f", "cats_macro_f", "cats_macro_auc")


def main(
    pipelines: List[str] = typer.Argument(..., help="Pipelines with a text classifier"),
    data: Path = typer.Option(..., help="Labelled texts, a .spacy file"),
    output: Path = typer.Option(..., help="Where the metrics go, JSON"),
    predictions: Optional[Path] = typer.Option(
        None, help="Where the texts with the mean scores go, a .spacy file"
    ),
) -> None:
    """Write the scores of each pipeline and of the mean of all."""
    with user_errors():
        nlps = load_classifiers(pipelines)
        golds = list(load_docbin(data).get_docs(nlps[0].vocab))
        scored = [_classify(nlp, golds) for nlp in nlps]
        means = [mean_cats(cats) for cats in zip(*scored)]
        pipe = find_categorizer(nlps[0])
        members = {
            name: _evaluate(cats, golds, pipe) for name, cats in zip(pipelines, scored)
        }
        ensemble = _evaluate(means, golds, pipe)
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, {"members": members, "ensemble": ensemble})
        if predictions is not None:
            predictions.parent.mkdir(parents=True, exist_ok=True)
            DocBin(docs=_with_cats(golds, means)).to_disk(predictions)
        _print(members, ensemble)
        msg.good(f"Wrote {output}")


def load_classifiers(pipelines: Sequence[str]) -> List[Language]:
    """Load pipelines whose classifiers can be averaged.

    pipelines (Sequence[str]): Directories or names of packages.
    RETURNS (List[Language]): The pipelines.
    RAISES (ValueError): If their labels, or the kinds of their classifiers, differ.
    """
    fix = "Train it with 'python -m spacy train'"
    nlps = [load_pipeline(name, fix=fix) for name in pipelines]
    pipes = [find_categorizer(nlp) for nlp in nlps]
    for name, pipe in zip(pipelines, pipes):
        if set(pipe.labels) != set(pipes[0].labels):
            raise ValueError(
                f"{name} has the labels {', '.join(pipe.labels)}, but {pipelines[0]} "
                f"has {', '.join(pipes[0].labels)}. Only classifiers of the same labels "
                "can be averaged."
            )
        if is_exclusive(pipe) != is_exclusive(pipes[0]):
            raise ValueError(
                f"The labels of {name} and {pipelines[0]} exclude each other in one of "
                "them alone. Only classifiers of the same kind can be averaged."
            )
    return nlps


def is_exclusive(pipe: Any) -> bool:
    """Return whether a classifier gives each text exactly one label."""
    return not isinstance(pipe, MultiLabel_TextCategorizer)


def mean_cats(cats: Iterable[Cats]) -> Cats:
    """Average the scores that several classifiers give a text.

    cats (Iterable[Cats]): `doc.cats` of each.
    RETURNS (Cats): The mean score of each label.
    """
    members = list(cats)
    return {
        label: statistics.fmean(member[label] for member in members)
        for label in members[0]
    }


def _classify(nlp: Language, golds: Sequence[Doc]) -> List[Cats]:
    labels = find_categorizer(nlp).labels
    docs = nlp.pipe(unannotated(nlp, gold) for gold in golds)
    return [{label: doc.cats[label] for label in labels} for doc in docs]


def _with_cats(golds: Sequence[Doc], cats: Sequence[Cats]) -> List[Doc]:
    """Return the texts without annotation but the scores."""
    docs = []
    for gold, scores in zip(golds, cats):
        words, spaces = [], []
        for token in gold:
            words.append(token.text)
            spaces.append(bool(token.whitespace_))
        doc = Doc(gold.vocab, words=words, spaces=spaces)
        doc.cats = scores
        docs.append(doc)
    return docs


def _evaluate(
    cats: Sequence[Cats], golds: Sequence[Doc], pipe: Any
) -> Dict[str, float]:
    """Score as `spacy evaluate` does, which leaves out texts without words."""
    pairs = zip(_with_cats(golds, cats), golds)
    examples = [Example(doc, gold) for doc, gold in pairs if len(gold)]
    scores = Scorer.score_cats(
        examples,
        "cats",
        labels=pipe.labels,
        multi_label=not is_exclusive(pipe),
        threshold=pipe.cfg["threshold"],
    )
    return {name: scores[name] for name in METRICS}


def _print(members: Dict[str, Dict[str, float]], ensemble: Dict[str, float]) -> None:
    rows = [[name, *map(_percent, scores.values())] for name, scores in members.items()]
    columns = [list(column) for column in zip(*(m.values() for m in members.values()))]
    rows.append(["mean of the scores", *(_spread(column) for column in columns)])
    rows.append(["ensemble", *map(_percent, ensemble.values())])
    # For exclusive labels the micro F-score is the accuracy.
    header = ["pipeline", "micro F / accuracy", "macro F", "macro AUC"]
    msg.table(rows, header=header, aligns=("l", "r", "r", "r"), divider=True)


def _percent(score: float) -> str:
    return f"{100 * score:.1f}"


def _spread(scores: List[float]) -> str:
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    return f"{_percent(statistics.fmean(scores))} ± {_percent(spread)}"


if __name__ == "__main__":
    typer.run(main)
