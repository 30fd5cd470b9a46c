"""Labels of the text classifiers: new ones, rare ones, missing and unknown ones."""

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose
from spacy.cli.find_threshold import find_threshold
from spacy.tokens import DocBin
from spacy.training import Example
from thinc.api import Adam

from .test_ulmfit_textcat import TEXT, build, examples

MULTILABEL = "ulmfit_textcat_multilabel"
SPORTS = ("the match was lost", "sports")


def example(nlp, text, **cats):
    return Example.from_dict(nlp.make_doc(text), {"cats": cats})


def with_sports(nlp):
    text, label = SPORTS
    more = example(nlp, text, food=0.0, travel=0.0, sports=1.0)
    return [*examples(nlp), more]


def head(nlp):
    return nlp.get_pipe("textcat").shim.module.head.linears[-1]


@pytest.fixture
def untrained(awd_lstm_path):
    nlp = build(encoder=awd_lstm_path)
    nlp.initialize(lambda: examples(nlp))
    return nlp


# New labels


def test_a_label_added_later_leaves_the_others_as_they_were(untrained, tmp_path):
    nlp, pipe = untrained, untrained.get_pipe("textcat")
    before = nlp(TEXT).cats
    assert pipe.add_label("sports") == 1
    assert pipe.add_label("sports") == 0
    after = nlp(TEXT).cats
    assert list(after) == ["food", "travel", "sports"]
    # The logits of the old labels are the same, so their ratio is.
    ratio = before["food"] / before["travel"]
    assert after["food"] / after["travel"] == pytest.approx(ratio, rel=1e-5)
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path)(TEXT).cats == after


def test_a_new_label_is_learnt_with_the_optimizer_that_went_before(untrained):
    nlp, optimizer = untrained, Adam(0.02, use_averages=True)
    for _ in range(3):
        nlp.update(examples(nlp), sgd=optimizer)
    nlp.get_pipe("textcat").add_label("sports")
    # Averages of the old size are not used.
    with nlp.use_params(optimizer.averages):
        assert len(nlp(TEXT).cats) == 3
    for _ in range(60):
        nlp.update(with_sports(nlp), sgd=optimizer)
    assert max(nlp(SPORTS[0]).cats.items(), key=lambda item: item[1])[0] == "sports"


def test_initialize_keeps_the_weights_and_learns_more_labels(awd_lstm_path):
    nlp = build()
    nlp.initialize(lambda: examples(nlp))
    weight = head(nlp).weight.clone()
    embedding = nlp.get_pipe("textcat").language_model.embedding.weight.clone()
    # The old labels need no examples any more.
    new = [example(nlp, SPORTS[0], sports=1.0)]
    nlp.get_pipe("textcat").initialize(lambda: new, nlp=nlp)
    assert nlp.get_pipe("textcat").labels == ("food", "travel", "sports")
    assert torch.equal(head(nlp).weight[:2], weight)
    now = nlp.get_pipe("textcat").language_model.embedding.weight
    assert torch.equal(now, embedding)


def test_an_encoder_makes_a_new_start(untrained):
    weight = head(untrained).weight.clone()
    untrained.initialize(lambda: with_sports(untrained))
    assert len(head(untrained).weight) == 3
    assert not torch.equal(head(untrained).weight[:2], weight)


# Weights and smoothing


def test_balanced_weights_make_each_label_count_the_same(awd_lstm_path):
    nlp = build(encoder=awd_lstm_path, component={"class_weights": "balanced"})
    data = examples(nlp)[:4]  # three of food, one of travel
    nlp.initialize(lambda: data)
    weights = nlp.get_pipe("textcat").cfg["class_weights"]
    assert weights == pytest.approx({"food": 4 / 6, "travel": 4 / 2})
    scores = numpy.full((4, 2), 0.5, dtype="f")
    _, gradient = nlp.get_pipe("textcat").get_loss(data, scores)
    assert_allclose(gradient.sum(axis=0), [0.0, 0.0], atol=1e-6)


def test_balanced_weights_of_several_labels_are_those_of_positive_examples(
    awd_lstm_path,
):
    settings = {"class_weights": "balanced"}
    nlp = build(MULTILABEL, encoder=awd_lstm_path, component=settings)
    data = [
        example(nlp, "tea", food=1.0, travel=0.0),
        example(nlp, "cake", food=0.0, travel=1.0),
        example(nlp, "soup", food=0.0),
        example(nlp, "bread", food=0.0),
    ]
    nlp.initialize(lambda: data)
    weights = nlp.get_pipe("textcat").cfg["class_weights"]
    assert weights == {"food": 3.0, "travel": 1.0}


def test_weights_and_smoothing_are_stored_with_the_component(awd_lstm_path, tmp_path):
    settings = {"class_weights": {"food": 2.0}, "label_smoothing": 0.1}
    nlp = build(encoder=awd_lstm_path, component=settings)
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    data = examples(nlp)
    scores = nlp.get_pipe("textcat").predict([e.predicted for e in data])
    found, gradient = loaded.get_pipe("textcat").get_loss(data, scores)
    expected, d_expected = nlp.get_pipe("textcat").get_loss(data, scores)
    assert found == expected
    assert_allclose(gradient, d_expected)
    logits = torch.from_numpy(numpy.log(scores))
    labels = torch.tensor([int(e.reference.cats["travel"]) for e in data])
    torch_loss = torch.nn.functional.cross_entropy(
        logits, labels, weight=torch.tensor([2.0, 1.0]), label_smoothing=0.1
    )
    assert found == pytest.approx(torch_loss.item(), rel=1e-4)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"class_weights": {"food": 0.0}}, r"\[components.textcat\] class_weights"),
        ({"label_smoothing": 1.0}, r"label_smoothing must be at least 0 and below 1"),
        ({"label_smoothing": -0.1}, r"label_smoothing .* -0.1"),
        ({"class_weights": "equal"}, "class_weights"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(component=settings)


def test_weights_of_an_unknown_label_are_refused(awd_lstm_path):
    settings = {"class_weights": {"sports": 2.0}}
    nlp = build(encoder=awd_lstm_path, component=settings)
    with pytest.raises(ValueError, match="class_weights has the label 'sports'.*food"):
        nlp.initialize(lambda: examples(nlp))


# Missing labels and unknown ones


def test_a_label_without_a_value_gives_no_gradient(awd_lstm_path):
    nlp = build(MULTILABEL, encoder=awd_lstm_path)
    nlp.initialize(lambda: examples(nlp))
    pipe = nlp.get_pipe("textcat")
    data = [example(nlp, "tea", food=1.0)]
    _, gradient = pipe.get_loss(data, pipe.predict([data[0].predicted]))
    assert gradient[0, 0] != 0.0
    assert gradient[0, 1] == 0.0
    before = head(nlp).weight.clone()
    nlp.update(data, sgd=Adam(0.01, L2=0.0))
    moved = (head(nlp).weight != before).any(dim=1)
    assert moved.tolist() == [True, False]


@pytest.mark.parametrize("factory", ["ulmfit_textcat", MULTILABEL])
def test_a_class_without_examples_is_named(factory):
    nlp = build(factory)
    data = [
        example(nlp, "tea", food=1.0, travel=0.0, sports=0.0),
        example(nlp, "train", food=0.0, travel=1.0, sports=0.0),
    ]
    message = "No training example has the label 'sports', which the training data name"
    with pytest.raises(ValueError, match=message):
        nlp.initialize(lambda: data)


def test_a_label_that_was_not_learnt_is_named_in_training_and_evaluation(untrained):
    unknown = [example(untrained, *SPORTS[:1], food=0.0, sports=1.0)]
    message = "label 'sports', which 'textcat' has not learnt.*food, travel.*match"
    with pytest.raises(ValueError, match=message):
        untrained.update(unknown, sgd=Adam(0.01))
    with pytest.raises(ValueError, match=message):
        untrained.evaluate(unknown)


def test_the_positive_label_is_the_one_that_is_scored(awd_lstm_path):
    settings = {"positive_label": "travel"}
    nlp = build(encoder=awd_lstm_path, initialize=settings)
    nlp.initialize(lambda: examples(nlp))
    scores = nlp.evaluate(examples(nlp))
    assert scores["cats_score_desc"] == "F (travel)"
    assert scores["cats_score"] == scores["cats_f_per_type"]["travel"]["f"]


def test_a_positive_label_of_several_is_refused(awd_lstm_path):
    settings = {"positive_label": "travel"}
    nlp = build(MULTILABEL, encoder=awd_lstm_path, initialize=settings)
    with pytest.raises(ValueError, match="positive_label = 'travel' has no meaning"):
        nlp.initialize(lambda: examples(nlp))


# Threshold


def test_find_threshold_finds_the_best_threshold(awd_lstm_path, tmp_path, capsys):
    nlp = build(MULTILABEL, encoder=awd_lstm_path)
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.005))
    for _ in range(10):
        nlp.update(examples(nlp), sgd=optimizer)
    nlp.to_disk(tmp_path / "pipeline")
    docs = [e.reference for e in examples(nlp)]
    DocBin(docs=docs).to_disk(tmp_path / "dev.spacy")
    best, score, scores = find_threshold(
        tmp_path / "pipeline",
        tmp_path / "dev.spacy",
        "textcat",
        "threshold",
        "cats_macro_f",
        n_trials=5,
    )
    assert list(scores) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert score == max(scores.values()) == scores[best]
    assert len(set(scores.values())) > 1
