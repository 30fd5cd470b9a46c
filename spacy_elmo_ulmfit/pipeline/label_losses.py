"""Losses of the text classifiers, with their gradients with respect to the logits."""

from typing import Any, Tuple

import numpy

_TINY = float(numpy.finfo("float32").tiny)


def exclusive_loss(
    xp: Any, scores: Any, truths: Any, weights: Any, smoothing: float
) -> Tuple[float, Any]:
    """Compute the cross-entropy of labels of which one is true.

    As `torch.nn.CrossEntropyLoss` with `weight` and `label_smoothing` does. A document
    without a true label takes no part.

    xp (Any): numpy or cupy.
    scores (Floats2d): Probabilities, `(n_docs, n_labels)`.
    truths (Floats2d): 1 for the true label, else 0. *Shape:* `(n_docs, n_labels)`
    weights (Floats1d): A weight for each label. *Shape:* `(n_labels,)`
    smoothing (float): Share of the truth that is spread over all labels.
    RETURNS (Tuple[float, Floats2d]): The mean loss, weighted by the true labels, and
        the gradient times the number of documents.
    """
    labelled = truths.sum(axis=1, keepdims=True)
    smoothed = (1 - smoothing) * truths + labelled * smoothing / truths.shape[1]
    targets = smoothed * weights
    # Without any label the targets are zero.
    total = float((truths * weights).sum()) or 1.0
    loss = -float((targets * xp.log(scores + _TINY)).sum()) / total
    gradient = scores * targets.sum(axis=1, keepdims=True) - targets
    return loss, gradient * (len(scores) / total)


def multilabel_loss(
    xp: Any, scores: Any, truths: Any, known: Any, weights: Any, smoothing: float
) -> Tuple[float, Any]:
    """Compute the binary cross-entropy of labels that do not exclude each other.

    As `torch.nn.BCEWithLogitsLoss` with `pos_weight` does, summed over labels.

    xp (Any): numpy or cupy.
    scores (Floats2d): Probabilities, `(n_docs, n_labels)`.
    truths (Floats2d): 1 for true labels, else 0. *Shape:* `(n_docs, n_labels)`
    known (Floats2d): 0 for labels of which the truth is unknown, else 1; those take no
        part. *Shape:* `(n_docs, n_labels)`
    weights (Floats1d): Weight of each label where it is true. *Shape:* `(n_labels,)`
    smoothing (float): How far truths of 0 and 1 are moved towards each other.
    RETURNS (Tuple[float, Floats2d]): The loss per document, and the gradient times the
        number of documents.
    """
    smoothed = (1 - smoothing) * truths + smoothing / 2
    positive, negative = weights * smoothed * known, (1 - smoothed) * known
    losses = positive * xp.log(scores + _TINY) + negative * xp.log(1 - scores + _TINY)
    gradient = negative * scores - positive * (1 - scores)
    return -float(losses.sum()) / max(1, len(scores)), gradient
