"""Where a text classifier is wrong: scores, confusions and losses over labelled texts."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.pipeline.textcat import TextCategorizer
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer
from spacy.scorer import PRFScore
from spacy.tokens import Doc

from ..vectors.docbin import load_docbin

_TINY = 1e-12


@dataclass(frozen=True)
class ClassifiedText:
    """A labelled text and what a classifier says of it.

    text (str): The text.
    truth (Dict[str, float]): 1.0 for labels that are right, 0.0 for labels that are
        wrong; labels nobody has judged are missing.
    scores (Dict[str, float]): The classifier's probability of each label.
    """

    text: str
    truth: Dict[str, float]
    scores: Dict[str, float]

    @property
    def true_label(self) -> str:
        """The label that is right, of labels that exclude each other."""
        return max(self.truth, key=lambda label: self.truth[label])

    @property
    def predicted_label(self) -> str:
        """The label of the highest probability."""
        return max(self.scores, key=lambda label: self.scores[label])


class ConfusedPair(NamedTuple):
    """Texts of one label that were taken for another.

    true (str): The label that is right.
    predicted (str): The label that was predicted.
    n_texts (int): Number of such texts.
    share (float): Their share of all texts with the true label.
    """

    true: str
    predicted: str
    n_texts: int
    share: float


@dataclass(frozen=True)
class Classification:
    """Predictions for labelled texts, with what is needed to judge them.

    texts (List[ClassifiedText]): The texts.
    labels (List[str]): All labels.
    multi_label (bool): Whether labels do not exclude each other.
    threshold (float): Probability from which a label counts as predicted; only where
        they do not.
    n_left_out (int): Number of texts that have no labels, or no words: spaCy's
        scorer does not see them either.
    """

    texts: List[ClassifiedText]
    labels: List[str]
    multi_label: bool
    threshold: float
    n_left_out: int

    def scores_per_label(self) -> Dict[str, PRFScore]:
        """Return precision, recall and F-score of each label, as `spacy evaluate` does."""
        scores = {label: PRFScore() for label in self.labels}
        for text in self.texts:
            for label, (is_true, is_predicted) in self._decisions(text).items():
                scores[label].tp += is_true and is_predicted
                scores[label].fp += is_predicted and not is_true
                scores[label].fn += is_true and not is_predicted
        return scores

    def support(self) -> Dict[str, int]:
        """Return the number of texts that have each label."""
        return {
            label: sum(text.truth.get(label, 0.0) > 0 for text in self.texts)
            for label in self.labels
        }

    def confusion(self) -> NDArray[numpy.int64]:
        """Count texts by true label, the rows, and predicted label, the columns."""
        index = {label: i for i, label in enumerate(self.labels)}
        counts = numpy.zeros((len(index), len(index)), dtype="int64")
        for text in self.texts:
            counts[index[text.true_label], index[text.predicted_label]] += 1
        return counts

    def confused_pairs(self) -> List[ConfusedPair]:
        """Return pairs of labels by the number of texts that were confused."""
        counts = self.confusion()
        totals = counts.sum(axis=1)
        pairs = [
            ConfusedPair(
                self.labels[i],
                self.labels[j],
                int(counts[i, j]),
                float(counts[i, j] / totals[i]),
            )
            for i, j in zip(*numpy.nonzero(counts))
            if i != j
        ]
        return sorted(pairs, key=lambda pair: (-pair.n_texts, -pair.share))

    def top_losses(self) -> List[ClassifiedText]:
        """Return all texts by their loss, the worst first."""
        return sorted(self.texts, key=lambda text: -self.loss(text))

    def loss(self, text: ClassifiedText) -> float:
        """Return the cross-entropy of a text; of several labels, their sum.

        text (ClassifiedText): The text.
        RETURNS (float): In nats.
        """
        if not self.multi_label:
            return _log_loss(text.scores[text.true_label])
        return sum(
            _log_loss(text.scores[label] if is_true else 1.0 - text.scores[label])
            for label, (is_true, _) in self._decisions(text).items()
        )

    def is_right(self, text: ClassifiedText) -> bool:
        """Return whether all judged labels of a text are as predicted.

        text (ClassifiedText): The text.
        RETURNS (bool): Whether nothing is wrong.
        """
        return all(true == found for true, found in self._decisions(text).values())

    def false_positives(self, label: str) -> List[ClassifiedText]:
        """Return texts that were given a label in error, the surest first."""
        found = [
            t for t in self.texts if self._decisions(t).get(label) == (False, True)
        ]
        return sorted(found, key=lambda text: -text.scores[label])

    def false_negatives(self, label: str) -> List[ClassifiedText]:
        """Return texts that were denied a label in error, the surest first."""
        found = [
            t for t in self.texts if self._decisions(t).get(label) == (True, False)
        ]
        return sorted(found, key=lambda text: text.scores[label])

    @property
    def accuracy(self) -> float:
        """Share of the texts whose labels are all right."""
        return sum(self.is_right(text) for text in self.texts) / len(self.texts)

    def _decisions(self, text: ClassifiedText) -> Dict[str, Tuple[bool, bool]]:
        """Return for each judged label whether it is right and whether predicted."""
        if self.multi_label:
            return {
                label: (
                    text.truth[label] > 0,
                    text.scores[label] >= self.threshold,
                )
                for label in self.labels
                if label in text.truth
            }
        true, predicted = text.true_label, text.predicted_label
        return {label: (label == true, label == predicted) for label in self.labels}


def classify(
    nlp: Language,
    path: Path,
    *,
    component: Optional[str] = None,
    threshold: Optional[float] = None,
) -> Classification:
    """Run a pipeline over labelled texts, as `spacy evaluate` does.

    nlp (Language): A pipeline with a text classifier of any kind.
    path (Path): The `.spacy` file.
    component (Optional[str]): Name of the classifier; by default the pipeline's last,
        whose scores `doc.cats` holds at the end.
    threshold (Optional[float]): Probability from which a label counts as predicted,
        where labels do not exclude each other; by default the classifier's own.
    RETURNS (Classification): The predictions.
    RAISES (ValueError): If there is no classifier, or the file holds no labels.
    """
    pipe = find_categorizer(nlp, component)
    golds = list(load_docbin(path).get_docs(nlp.vocab))
    predicted = nlp.pipe(unannotated(nlp, gold) for gold in golds)
    multi_label = isinstance(pipe, MultiLabel_TextCategorizer)
    return _classification(
        zip(golds, predicted),
        labels=list(pipe.labels),
        multi_label=multi_label,
        threshold=pipe.cfg["threshold"] if threshold is None else threshold,
        source=str(path),
    )


def read_classification(
    predictions: Path, path: Path, *, threshold: float = 0.5
) -> Classification:
    """Compare predictions in a file with labelled texts.

    Whether labels exclude each other is told from the labelled texts: whether each of
    them has just one.

    predictions (Path): A `.spacy` file of the same texts, as `spacy apply` writes it.
    path (Path): The `.spacy` file with the true labels.
    threshold (float): Probability from which a label counts as predicted, where labels
        do not exclude each other.
    RETURNS (Classification): The predictions.
    RAISES (ValueError): If the texts are not the same, or one of them has no labels.
    """
    vocab = Language().vocab
    golds = list(load_docbin(path).get_docs(vocab))
    predicted = list(load_docbin(predictions).get_docs(vocab))
    if [doc.text for doc in golds] != [doc.text for doc in predicted]:
        raise ValueError(
            f"{predictions} and {path} do not hold the same texts in the same order. "
            f"Write the predictions again: python -m spacy apply PIPELINE {path} "
            f"{predictions} --force"
        )
    unscored = sum(not doc.cats for doc in predicted)
    if unscored:
        raise ValueError(
            f"{predictions} has {unscored} texts without scores in doc.cats; it needs "
            "the predictions of a text classifier."
        )
    n_true = [sum(value > 0 for value in doc.cats.values()) for doc in golds]
    labels = sorted({label for doc in predicted for label in doc.cats})
    return _classification(
        zip(golds, predicted),
        labels=labels,
        multi_label=any(n != 1 for n, doc in zip(n_true, golds) if doc.cats),
        threshold=threshold,
        source=str(path),
    )


def find_categorizer(nlp: Language, component: Optional[str] = None) -> Any:
    """Find a text classifier of any kind in a pipeline.

    nlp (Language): The pipeline.
    component (Optional[str]): Name of the component; by default the last.
    RETURNS (Any): The component.
    RAISES (ValueError): If there is none, or the component is none.
    """
    pipes = [(name, pipe) for name, pipe in nlp.pipeline if component in (None, name)]
    for _, pipe in reversed(pipes):
        # The multi-label component is one as well.
        if isinstance(pipe, TextCategorizer):
            return pipe
    wanted = (
        "text classifier" if component is None else f"text classifier {component!r}"
    )
    raise ValueError(
        f"The pipeline has no {wanted}; it has {', '.join(nlp.pipe_names) or 'nothing'}."
    )


def unannotated(nlp: Language, gold: Doc) -> Doc:
    """Return a labelled text as `spacy evaluate` gives it to a pipeline.

    nlp (Language): The pipeline.
    gold (Doc): The text.
    RETURNS (Doc): The same text without annotation.
    """
    if gold.has_unknown_spaces:
        return Doc(nlp.vocab, words=[token.text for token in gold])
    return nlp.make_doc(gold.text)


def _classification(
    pairs: Iterator[Tuple[Doc, Doc]],
    *,
    labels: Sequence[str],
    multi_label: bool,
    threshold: float,
    source: str,
) -> Classification:
    texts, n_left_out = [], 0
    for gold, predicted in pairs:
        truth = {label: value for label, value in gold.cats.items() if label in labels}
        strange = sorted(set(gold.cats) - set(labels))
        if any(gold.cats[label] for label in strange):
            raise ValueError(
                f"{source} has the label {strange[0]!r}, which the classifier does not "
                f"know; it has {', '.join(labels)}."
            )
        labelled = truth and (multi_label or any(truth.values()))
        if not len(gold) or not labelled:
            n_left_out += 1
            continue
        scores = {label: predicted.cats.get(label, 0.0) for label in labels}
        texts.append(ClassifiedText(gold.text, truth, scores))
    if not texts:
        raise ValueError(
            f"{source} has no text with labels in doc.cats. Give a .spacy file like "
            "that of the training's dev part."
        )
    return Classification(texts, list(labels), multi_label, threshold, n_left_out)


def _log_loss(probability: float) -> float:
    return -math.log(max(probability, _TINY))
