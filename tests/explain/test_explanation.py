"""Which tokens made a classifier decide."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.tokens import Doc

from spacy_elmo_ulmfit.explain import METHODS, Explanation, correlation, explain
from spacy_elmo_ulmfit.modules.attribution import (
    input_gradients,
    intrinsic_attention,
)

from .util import train_classifier

TEXT = "We took the night train to Rome, and a bowl of soup."
# No training text has it.
UNKNOWN = "quark"


@pytest.mark.parametrize("kind", ["exclusive", "multilabel", "ensemble"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_scores_every_token_of_the_document(pipelines, kind, method):
    nlp = pipelines[kind]
    found = explain(nlp, TEXT, method=method)
    doc = nlp(TEXT)
    assert (found.doc.text, found.method) == (TEXT, method)
    assert_allclose(
        [found.probabilities[label] for label in doc.cats],
        list(doc.cats.values()),
        atol=1e-6,
    )
    assert found.label == max(doc.cats, key=doc.cats.get)
    assert found.scores.shape == (len(doc),)
    # An unknown word is what occlusion puts in its place.
    told = [method != "occlusion" or words != (found.unknown,) for words in found.words]
    assert sum(told) > 8 and numpy.abs(found.scores[told]).min() > 0


def test_intrinsic_attention_is_a_share_of_the_largest(classifier):
    scores = explain(classifier, TEXT).scores
    assert scores.max() == 1.0 and scores.min() > 0


@pytest.mark.parametrize("kind", ["exclusive", "multilabel", "ensemble"])
def test_occlusion_is_the_change_that_a_user_sees_without_the_word(pipelines, kind):
    nlp = pipelines[kind]
    words = ["tea", "and", "soup", "on", "a", "train"]
    whole = nlp(Doc(nlp.vocab, words=words))
    for label in ("food", "travel"):
        found = explain(nlp, whole, label, "occlusion")
        for i in range(len(words)):
            changed = [UNKNOWN if i == j else word for j, word in enumerate(words)]
            loss = whole.cats[label] - nlp(Doc(nlp.vocab, words=changed)).cats[label]
            assert found.scores[i] == pytest.approx(loss, abs=1e-6)


def test_two_exclusive_labels_have_opposite_scores(classifier):
    for method in METHODS[1:]:
        food = explain(classifier, TEXT, "food", method)
        travel = explain(classifier, TEXT, "travel", method)
        assert food.signed
        assert_allclose(food.scores, -travel.scores, atol=1e-6)


def test_gradients_reach_the_first_words_of_a_document_of_many_windows(classifier):
    words = ["soup"] + ["the", "train"] * 40
    doc = Doc(classifier.vocab, words=words)
    for method in METHODS:
        assert explain(classifier, doc, method=method).scores[0] != 0


def test_the_scores_of_a_token_s_pieces_are_summed(classifier):
    doc = classifier.make_doc("soup in Rome")
    found = explain(classifier, doc, "food", "input-gradients")
    assert found.words == [("soup",), (found.unknown,), ("xxmaj", found.unknown)]
    as_words = Doc(classifier.vocab, words=["soup", UNKNOWN, "xxmaj", UNKNOWN])
    single = explain(classifier, as_words, "food", "input-gradients").scores
    assert_allclose(found.scores, [*single[:2], single[2] + single[3]], rtol=1e-5)


def test_what_is_not_read_has_no_score():
    # By these rules, white space is not.
    nlp = train_classifier(tokens="doc")
    doc = Doc(nlp.vocab, words=["soup", "\n\n", "train"])
    for method in METHODS:
        found = explain(nlp, doc, method=method)
        assert found.words[1] == () and found.scores[1] == 0
        assert 1 not in found.strongest(3)


@pytest.mark.parametrize("text", ["", " \n"])
@pytest.mark.parametrize("method", METHODS)
def test_a_document_without_words_is_explained_by_nothing(classifier, text, method):
    found = explain(classifier, text, method=method)
    assert not found.scores.any() and found.strongest(5) == []
    assert sum(found.probabilities.values()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize(
    "method, function",
    [
        ("intrinsic-attention", intrinsic_attention),
        ("input-gradients", input_gradients),
    ],
)
def test_gradients_of_both_directions_are_averaged(pipelines, method, function):
    nlp = pipelines["ensemble"]
    doc = nlp("Soup on the night train")
    parts = []
    for shim in nlp.get_pipe("textcat").shims.values():
        read = shim.read(doc)
        ids, _ = shim.word_ids([read.words])
        scores = function(shim.module, ids, 0, multi_label=False).numpy()
        owners = numpy.array(read.owners)
        parts.append([scores[owners == i].sum() for i in range(len(doc))])
    assert not numpy.allclose(*parts)
    expected = numpy.mean(parts, axis=0)
    if function is intrinsic_attention:
        expected = expected / expected.max()
    found = explain(nlp, doc, "food", method)
    assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-7)
    assert found.words[0] == ("xxmaj", "soup")


def explanation_of(method, scores, words=None):
    doc = Doc(spacy.blank("en").vocab, words=["x"] * len(scores))
    words = [("x",)] * len(scores) if words is None else words
    array = numpy.array(scores, dtype="f")
    return Explanation(doc, "food", method, array, words, "xxunk", {"food": 1.0})


def test_the_sign_counts_only_between_methods_that_have_one():
    signed = explanation_of("occlusion", [1, -2, 3])
    same = explanation_of("input-gradients", [2, -4, 6])
    size = explanation_of("intrinsic-attention", [0.1, 0.2, 0.3])
    assert correlation(signed, same) == pytest.approx(1.0)
    assert correlation(size, signed) == pytest.approx(1.0)


def test_tokens_that_are_not_read_do_not_correlate():
    words = [("x",), (), ("x",), ("x",)]
    one = explanation_of("occlusion", [1, 0, 2, 3], words)
    other = explanation_of("input-gradients", [3, 0, 2, 1], words)
    assert correlation(one, other) == pytest.approx(-1.0)


@pytest.mark.parametrize("scores", [[], [1], [0, 0, 0]])
def test_scores_that_do_not_differ_have_no_correlation(scores):
    found = explanation_of("occlusion", scores)
    assert correlation(found, found) is None


def test_a_label_that_there_is_not_is_an_error_with_those_there_are(classifier):
    with pytest.raises(ValueError, match="no label 'sports'; it has food, travel"):
        explain(classifier, TEXT, "sports")


def test_a_method_that_there_is_not_is_an_error_with_those_there_are(classifier):
    with pytest.raises(ValueError, match="'shap' is none of intrinsic-attention, "):
        explain(classifier, TEXT, method="shap")


def test_a_pipeline_without_a_ulmfit_classifier_is_an_error(classifier):
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    with pytest.raises(ValueError, match="no component made by .* has sentencizer"):
        explain(nlp, TEXT)
    with pytest.raises(ValueError, match="no component 'spancat' made by"):
        explain(classifier, TEXT, component="spancat")
