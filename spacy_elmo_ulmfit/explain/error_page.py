"""Where a text classifier is wrong, as HTML."""

from typing import Any, Dict, List, Optional

from spacy.util import is_in_jupyter

from ..pages.html import AGAINST, FOR, percent, render_template, shade, show_in_notebook
from .error_analysis import Classification, ClassifiedText

_N_PAIRS = 12


def render_errors(
    classification: Classification,
    page: bool = False,
    jupyter: Optional[bool] = None,
    limit: int = 20,
    title: str = "Where the classifier is wrong",
) -> Optional[str]:
    """Render the errors of a classifier as HTML, as `displacy.render` does documents.

    classification (Classification): Predictions for labelled texts.
    page (bool): Whether to make a complete page.
    jupyter (Optional[bool]): Whether to display it in a notebook; by default where the
        code runs in one.
    limit (int): Most texts in a list.
    title (str): The heading.
    RETURNS (Optional[str]): The HTML, or `None` when it was displayed.
    """
    html = errors_to_html(classification, page=page, limit=limit, title=title)
    if jupyter or (jupyter is None and is_in_jupyter()):
        show_in_notebook(html)
        return None
    return html


def errors_to_html(
    classification: Classification, *, page: bool, limit: int, title: str
) -> str:
    """Return what `render_errors` displays; its arguments are the same."""
    exclusive = not classification.multi_label
    losses = classification.top_losses()
    return render_template(
        "errors.html",
        page=page,
        title=title,
        multi_label=classification.multi_label,
        threshold=classification.threshold,
        n_texts=len(classification.texts),
        n_wrong=sum(not classification.is_right(t) for t in classification.texts),
        n_left_out=classification.n_left_out,
        accuracy=classification.accuracy,
        labels=_label_rows(classification),
        matrix=_matrix(classification) if exclusive else [],
        pairs=classification.confused_pairs()[:_N_PAIRS] if exclusive else [],
        mistakes=[] if exclusive else _mistakes(classification, limit),
        losses=[_text_row(classification, text) for text in losses[:limit]],
        bar=shade(1.0, FOR),
    )


def _label_rows(classification: Classification) -> List[Dict[str, Any]]:
    support = classification.support()
    return [
        {
            "label": label,
            "precision": score.precision,
            "recall": score.recall,
            "fscore": score.fscore,
            "false_positives": score.fp,
            "false_negatives": score.fn,
            "support": support[label],
        }
        for label, score in classification.scores_per_label().items()
    ]


def _matrix(classification: Classification) -> List[Dict[str, Any]]:
    """Return rows of the confusion matrix, coloured by the share of their texts."""
    labels = classification.labels
    rows = []
    for i, counts in enumerate(classification.confusion().tolist()):
        total = sum(counts)
        cells = []
        for j, count in enumerate(counts):
            share = count / total if total else 0.0
            title = f"{count} of {total} {labels[i]} predicted as {labels[j]}"
            color = shade(share, AGAINST if i == j else FOR)
            cells.append({"count": count, "color": color, "title": title})
        rows.append({"label": labels[i], "cells": cells})
    return rows


def _mistakes(classification: Classification, limit: int) -> List[Dict[str, Any]]:
    result = []
    for label in classification.labels:
        kinds = {
            "false positive": classification.false_positives(label),
            "false negative": classification.false_negatives(label),
        }
        for kind, texts in kinds.items():
            shown = [(text.text, text.scores[label]) for text in texts[:limit]]
            item = {"label": label, "kind": kind, "count": len(texts), "texts": shown}
            result.append(item)
    return result


def _text_row(classification: Classification, text: ClassifiedText) -> Dict[str, Any]:
    """Return what the template shows of one text."""
    if classification.multi_label:
        true = [label for label, value in text.truth.items() if value > 0]
        threshold = classification.threshold
        predicted = [n for n, score in text.scores.items() if score >= threshold]
    else:
        true, predicted = [text.true_label], [text.predicted_label]
    return {
        "text": text.text,
        "loss": classification.loss(text),
        "is_right": classification.is_right(text),
        "true": [(label, percent(text.scores[label])) for label in true],
        "predicted": [(label, percent(text.scores[label])) for label in predicted],
    }
