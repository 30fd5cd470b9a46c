"""Explanations as HTML."""

import sys
from types import SimpleNamespace

import pytest
from spacy.tokens import Doc

from spacy_elmo_ulmfit.explain import METHODS, explain, render

from ..util_html import Page
from .util import train_classifier

TEXT = "Soup & <b>tea</b>\n\non the night train."


def text_of(page):
    return page.texts["lm-text"]


def test_a_page_shows_the_text_as_it_is_with_a_tooltip_for_every_token(classifier):
    found = explain(classifier, TEXT, "food", "occlusion")
    html = render(found, page=True)
    page = Page(html)
    assert text_of(page) == [TEXT]
    titles = [a["title"] for tag, a in page.tags if a.get("title")]
    assert len(titles) == sum(bool(words) for words in found.words)
    assert titles[0].endswith("read as: xxmaj soup")
    assert page.outside == []
    assert html.startswith("<!DOCTYPE html>") and page.text("lm-label") == ["food"]


def test_all_methods_of_one_document_share_a_section(classifier):
    doc = classifier(TEXT)
    found = [explain(classifier, doc, method=method) for method in METHODS]
    page = Page(render(found, page=True))
    assert text_of(page) == [TEXT] * 3
    assert len(page.text("h1")) == 1
    correlations = page.text("lm-aside")
    assert len(correlations) == 2
    assert all(text.startswith("correlation with occlusion") for text in correlations)
    other = explain(classifier, "the night train")
    assert len(Page(render([*found, other])).text("h1")) == 2


def test_the_probabilities_of_all_labels_are_there_the_largest_first(classifier):
    found = explain(classifier, TEXT)
    page = Page(render(found))
    ranked = sorted(found.probabilities.items(), key=lambda item: -item[1])
    rows = [f"{label}{value:.1%}" for label, value in ranked]
    assert page.text("tbody")[-1] == " ".join(rows)
    assert page.text("lm-chosen") == rows[:1]


def test_a_fragment_is_no_page(classifier):
    html = render(explain(classifier, TEXT))
    assert "<html" not in html and "<body" not in html
    assert text_of(Page(html)) == [TEXT]


def test_text_from_right_to_left_is_shown_so():
    nlp = train_classifier(lang="he")
    page = Page(render(explain(nlp, "soup שלום")))
    (text,) = [a for _, a in page.tags if a.get("class") == "lm-text"]
    assert (text["dir"], text["lang"]) == ("rtl", "he")


def test_labels_and_words_are_escaped(classifier):
    doc = Doc(classifier.vocab, words=['"><script>alert(1)</script>'])
    found = explain(classifier, doc)
    object.__setattr__(found, "label", "<i>label</i>")
    found.probabilities["<i>label</i>"] = 1.0
    page = Page(render(found, page=True))
    assert page.outside == []
    assert page.text("lm-label") == ["<i>label</i>"]
    assert text_of(page) == ['"><script>alert(1)</script> ']


@pytest.mark.parametrize("text", ["", "\n"])
@pytest.mark.parametrize("method", METHODS)
def test_a_document_without_words_has_a_page_too(classifier, text, method):
    page = Page(render(explain(classifier, text, method=method), page=True))
    assert page.text("lm-text")


def test_colours_leave_black_text_legible(classifier):
    page = Page(render([explain(classifier, TEXT, method=m) for m in METHODS]))
    colors = [
        attributes["style"].split("#")[1][:6]
        for tag, attributes in page.tags
        if tag == "span" and attributes.get("title")
    ]
    assert len(set(colors)) > 3
    for color in colors:
        assert contrast_with_black(color) > 7


def contrast_with_black(color):
    """Contrast ratio of WCAG 2."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in parts
    )
    return (0.2126 * red + 0.7152 * green + 0.0722 * blue + 0.05) / 0.05


def test_a_notebook_displays_it(classifier, monkeypatch):
    shown = []
    display = SimpleNamespace(HTML=lambda html: html, display=shown.append)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    found = explain(classifier, TEXT)
    assert render(found, jupyter=True) is None
    assert text_of(Page(shown[0])) == [TEXT]
    assert render(found, jupyter=False) is not None and len(shown) == 1
