"""Explanations as HTML: coloured text in displaCy's manner."""

import math
from itertools import groupby
from typing import Any, Dict, List, Optional, Sequence, Union

import numpy
from spacy.util import is_in_jupyter

from ..pages.html import AGAINST, FOR, render_template, shade, show_in_notebook
from .explanation import (
    INPUT_GRADIENTS,
    INTRINSIC_ATTENTION,
    OCCLUSION,
    Explanation,
    correlation,
)

# Rows of the table of the strongest tokens.
_N_STRONGEST = 12

# What a method says, for readers of the page.
_METHODS = {
    INTRINSIC_ATTENTION: (
        "Intrinsic attention",
        "How much the label's probability depends on each token: the size of its "
        "gradient, whatever the sign. The largest is 1.",
    ),
    INPUT_GRADIENTS: (
        "Input × gradient",
        "What each token adds to the label's probability, to the first order.",
    ),
    OCCLUSION: (
        "Occlusion",
        "What the label's probability loses when an unknown word stands in the "
        "token's place.",
    ),
}


def render(
    explanations: Union[Explanation, Sequence[Explanation]],
    page: bool = False,
    jupyter: Optional[bool] = None,
) -> Optional[str]:
    """Render explanations as HTML, as `displacy.render` does documents.

    Neighbours that explain one label of one document share a section.

    explanations (Union[Explanation, Sequence[Explanation]]): One or several.
    page (bool): Whether to make a complete page.
    jupyter (Optional[bool]): Whether to display it in a notebook; by default where the
        code runs in one.
    RETURNS (Optional[str]): The HTML, or `None` when it was displayed.
    """
    html = to_html(explanations, page=page)
    if jupyter or (jupyter is None and is_in_jupyter()):
        show_in_notebook(html)
        return None
    return html


def to_html(
    explanations: Union[Explanation, Sequence[Explanation]], page: bool = False
) -> str:
    """Return what `render` displays.

    explanations (Union[Explanation, Sequence[Explanation]]): One or several.
    page (bool): Whether to make a complete page.
    RETURNS (str): The HTML.
    """
    if isinstance(explanations, Explanation):
        explanations = [explanations]
    sections = [
        _section(list(group))
        for _, group in groupby(explanations, key=lambda one: (id(one.doc), one.label))
    ]
    return render_template(
        "explanation.html",
        page=page,
        title="What made the classifier decide",
        sections=sections,
    )


def _section(explanations: List[Explanation]) -> Dict[str, Any]:
    """Return what the template shows of the explanations of one label."""
    first = explanations[0]
    ranked = sorted(first.probabilities.items(), key=lambda item: -item[1])
    script = first.doc.vocab.writing_system
    return {
        "label": first.label,
        "probability": first.probabilities[first.label],
        "probabilities": ranked,
        "direction": script.get("direction", "ltr"),
        "lang": first.doc.vocab.lang,
        "panels": [_panel(one, explanations) for one in explanations],
        "rows": _rows(explanations),
    }


def _panel(explanation: Explanation, others: List[Explanation]) -> Dict[str, Any]:
    name, meaning = _METHODS[explanation.method]
    occlusions = [one for one in others if one.method == OCCLUSION]
    agreement = None
    if occlusions and explanation.method != OCCLUSION:
        agreement = correlation(explanation, occlusions[0])
    return {
        "name": name,
        "meaning": meaning,
        "signed": explanation.signed,
        "correlation": None if agreement is None else _minus(f"{agreement:.2f}"),
        "largest": _number(explanation, _largest(explanation)).lstrip("+"),
        "has_unknown": any(explanation.unknown in words for words in explanation.words),
        "tokens": _tokens(explanation),
        "for": shade(1.0, FOR),
        "against": shade(1.0, AGAINST),
    }


def _tokens(explanation: Explanation) -> List[Dict[str, Any]]:
    tokens = []
    for token, score in zip(explanation.doc, explanation.scores.tolist()):
        words = " ".join(explanation.words[token.i])
        title = f"{_number(explanation, score)} · read as: {words}" if words else None
        color = _color(explanation, score) if words else None
        tokens.append(
            {
                "text": token.text,
                "space": token.whitespace_,
                "title": title,
                "color": color,
                "unknown": explanation.unknown in explanation.words[token.i],
            }
        )
    return tokens


def _rows(explanations: List[Explanation]) -> List[Dict[str, Any]]:
    """Return the table of the tokens that are strongest by the first method."""
    first = explanations[0]
    rows = []
    for i in first.strongest(_N_STRONGEST):
        cells = []
        for one in explanations:
            score = float(one.scores[i])
            cells.append(
                {
                    "score": _number(one, score),
                    "color": shade(1.0, FOR if score >= 0 else AGAINST),
                    "width": round(100 * abs(score) / (_largest(one) or 1.0), 1),
                }
            )
        words = " ".join(first.words[i])
        rows.append({"token": first.doc[i].text, "words": words, "cells": cells})
    return rows


def _color(explanation: Explanation, score: float) -> str:
    largest = _largest(explanation)
    strength = abs(score) / largest if largest else 0.0
    return shade(strength, FOR if score >= 0 else AGAINST)


def _largest(explanation: Explanation) -> float:
    return float(numpy.abs(explanation.scores).max(initial=0.0))


def _number(explanation: Explanation, score: float) -> str:
    """Write a score, with so many digits that the largest has two that count."""
    if not explanation.signed:
        return f"{score:.2f}"
    largest = _largest(explanation) or 1.0
    digits = max(3, 1 - math.floor(math.log10(largest)))
    return _minus(f"{score:+.{digits}f}")


def _minus(number: str) -> str:
    return number.replace("-", "−")
