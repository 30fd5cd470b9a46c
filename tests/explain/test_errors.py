"""Where classifiers are wrong."""

import math
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus
from thinc.api import fix_random_seed

from spacy_elmo_ulmfit.explain import classify, read_classification, render_errors

from ..conftest import CATS
from ..util_html import Page

EXCLUSIVE = [
    ("one", "food", {"food": 0.7, "travel": 0.2, "work": 0.1}),
    ("two", "food", {"food": 0.1, "travel": 0.8, "work": 0.1}),
    ("three", "food", {"food": 0.3, "travel": 0.6, "work": 0.1}),
    ("four", "travel", {"food": 0.2, "travel": 0.5, "work": 0.3}),
    ("five", "work", {"food": 0.9, "travel": 0.05, "work": 0.05}),
]


def write(path, rows, order=None):
    """Write texts with categories; `order` shuffles them."""
    nlp = spacy.blank("en")
    docs = []
    for text, cats in rows:
        doc = nlp.make_doc(text)
        doc.cats = cats
        docs.append(doc)
    DocBin(docs=docs).to_disk(path)
    return path


def one_hot(label, labels=("food", "travel", "work")):
    return {name: float(name == label) for name in labels}


@pytest.fixture
def files(tmp_path):
    """True labels and predictions."""
    gold = [(text, one_hot(label)) for text, label, _ in EXCLUSIVE]
    predicted = [(text, scores) for text, _, scores in EXCLUSIVE]
    return (
        write(tmp_path / "gold.spacy", gold),
        write(tmp_path / "predicted.spacy", predicted),
    )


@pytest.fixture
def found(files):
    gold, predicted = files
    return read_classification(predicted, gold)


def test_exclusive_labels_are_confused_in_pairs(found):
    assert not found.multi_label and found.labels == ["food", "travel", "work"]
    assert found.confusion().tolist() == [[1, 2, 0], [0, 1, 0], [1, 0, 0]]
    pairs = found.confused_pairs()
    assert pairs[0][:3] == ("food", "travel", 2)
    assert pairs[0].share == pytest.approx(2 / 3)
    assert pairs[1] == ("work", "food", 1, 1.0)
    assert found.accuracy == pytest.approx(2 / 5)
    assert found.support() == {"food": 3, "travel": 1, "work": 1}


def test_losses_are_those_of_the_true_label(found):
    losses = found.top_losses()
    assert [text.text for text in losses] == ["five", "two", "three", "four", "one"]
    assert found.loss(losses[0]) == pytest.approx(-math.log(0.05))
    assert (losses[0].true_label, losses[0].predicted_label) == ("work", "food")


def multilabel_rows():
    gold = [
        {"food": 1.0, "travel": 1.0},
        {"food": 0.0, "travel": 0.0},
        {"food": 1.0},
        {},
    ]
    scores = [(0.9, 0.2), (0.6, 0.7), (0.1, 0.9), (0.5, 0.5)]
    names = ["one", "two", "three", "four"]
    return (
        list(zip(names, gold)),
        [(n, {"food": f, "travel": t}) for n, (f, t) in zip(names, scores)],
    )


@pytest.fixture
def multilabel(tmp_path):
    gold, predicted = multilabel_rows()
    return read_classification(
        write(tmp_path / "predicted.spacy", predicted),
        write(tmp_path / "gold.spacy", gold),
    )


def texts(classified):
    return [text.text for text in classified]


def test_of_labels_that_do_not_exclude_each_other_each_has_its_own_errors(multilabel):
    assert multilabel.multi_label and multilabel.n_left_out == 1
    assert texts(multilabel.false_positives("food")) == ["two"]
    assert texts(multilabel.false_negatives("food")) == ["three"]
    # Nobody has judged whether "three" is about travel.
    assert texts(multilabel.false_positives("travel")) == ["two"]
    assert texts(multilabel.false_negatives("travel")) == ["one"]
    worst = multilabel.top_losses()
    assert texts(worst) == ["three", "two", "one"]
    assert multilabel.loss(worst[0]) == pytest.approx(-math.log(0.1))
    expected = -math.log(1 - 0.6) - math.log(1 - 0.7)
    assert multilabel.loss(worst[1]) == pytest.approx(expected)
    assert multilabel.accuracy == 0.0


def test_another_threshold_gives_other_errors(tmp_path):
    gold, predicted = multilabel_rows()
    found = read_classification(
        write(tmp_path / "predicted.spacy", predicted),
        write(tmp_path / "gold.spacy", gold),
        threshold=0.65,
    )
    assert found.false_positives("food") == []
    assert texts(found.false_positives("travel")) == ["two"]


def trained(factory):
    """A classifier of spaCy's own, that has learnt little."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    nlp.add_pipe(factory)
    examples = []
    for text, label in CATS:
        gold = {"cats": one_hot(label, ("food", "travel"))}
        examples.append(spacy.training.Example.from_dict(nlp.make_doc(text), gold))
    nlp.initialize(lambda: examples)
    nlp.update(examples)
    return nlp


@pytest.mark.parametrize("factory", ["textcat", "textcat_multilabel"])
def test_any_classifier_has_the_scores_that_spacy_evaluates(
    factory, tmp_path: Path, pipelines
):
    rows = [
        ("tea and bread on the night train", {"food": 1.0, "travel": 0.0}),
        ("we took soup to the sea", {"food": 1.0, "travel": 0.0}),
        ("a bus", {"food": 0.0, "travel": 1.0}),
        ("", {"food": 0.0, "travel": 1.0}),
    ]
    path = write(tmp_path / "gold.spacy", rows)
    own = pipelines["exclusive" if factory == "textcat" else "multilabel"]
    for nlp in (trained(factory), own):
        found = classify(nlp, path)
        expected = nlp.evaluate(list(Corpus(path)(nlp)))
        assert {
            label: score.to_dict() for label, score in found.scores_per_label().items()
        } == expected["cats_f_per_type"]


def test_a_classifier_is_found_by_name_and_the_last_one_without(tmp_path, files):
    nlp = trained("textcat")
    with pytest.raises(ValueError, match="no text classifier 'other'; it has textcat"):
        classify(nlp, files[0], component="other")
    with pytest.raises(ValueError, match="no text classifier; it has nothing"):
        classify(spacy.blank("en"), files[0])
    nlp.add_pipe("textcat_multilabel").add_label("food")
    path = write(tmp_path / "food.spacy", [("tea", {"food": 1.0})])
    nlp.get_pipe("textcat_multilabel").initialize(lambda: list(Corpus(path)(nlp)))
    assert classify(nlp, path).multi_label
    assert not classify(nlp, path, component="textcat").multi_label


def test_words_without_known_spaces_stay_as_they_are(tmp_path, pipelines):
    nlp = pipelines["exclusive"]
    # Tokenised again, it would be read as "do n't".
    doc = Doc(nlp.vocab, words=["don't", "tea"])
    assert doc.has_unknown_spaces
    expected = nlp(doc.copy()).cats
    doc.cats = {"food": 1.0, "travel": 0.0}
    DocBin(docs=[doc]).to_disk(tmp_path / "gold.spacy")
    (text,) = classify(nlp, tmp_path / "gold.spacy").texts
    assert text.scores == pytest.approx(expected, abs=1e-6)


def test_bad_files_are_named(tmp_path, files):
    gold, predicted = files
    shuffled = [(text, scores) for text, _, scores in reversed(EXCLUSIVE)]
    other = write(tmp_path / "other.spacy", shuffled)
    with pytest.raises(ValueError, match="other.spacy and .*same texts.*spacy apply"):
        read_classification(other, gold)
    bare = write(tmp_path / "bare.spacy", [(text, {}) for text, _, _ in EXCLUSIVE])
    with pytest.raises(ValueError, match="bare.spacy has 5 texts without scores"):
        read_classification(bare, gold)
    with pytest.raises(ValueError, match="bare.spacy has no text with labels"):
        read_classification(predicted, bare)
    with pytest.raises(ValueError, match="label 'work', which .* it has food, travel"):
        classify(trained("textcat"), gold)


def test_a_page_of_exclusive_labels(found):
    page = Page(render_errors(found, page=True, jupyter=False))
    assert page.outside == []
    assert page.text("lm-quote") == ["five", "two", "three", "four", "one"]
    assert page.text("lm-matrix") == ["foodtravelwork food12 travel1 work1"]
    titles = [a["title"] for tag, a in page.tags if a.get("title")]
    assert "2 of 3 food predicted as travel" in titles
    assert len(page.text("lm-wrong")) == 3 and len(page.text("lm-right")) == 2
    assert "food90.0%" in page.text("lm-wrong")[0].replace(" ", "")
    assert "40.0%" in page.text("lm-lead")[0]


def test_a_page_of_labels_that_do_not_exclude_each_other(multilabel):
    page = Page(render_errors(multilabel, page=True, jupyter=False, limit=1))
    assert page.outside == []
    assert page.text("lm-matrix") == []
    summaries = page.text("summary")
    assert summaries == [
        "food: 1 false positive",
        "food: 1 false negative",
        "travel: 1 false positive",
        "travel: 1 false negative",
    ]
    assert page.text("lm-quote") == ["two", "three", "two", "one", "three"]
    assert "1 text without labels or words" in page.text("lm-lead")[0]


def test_texts_and_labels_are_escaped(tmp_path):
    name = "<b>food</b>"
    gold = write(tmp_path / "gold.spacy", [("<script>1</script>", {name: 1.0})])
    predicted = write(tmp_path / "p.spacy", [("<script>1</script>", {name: 0.5})])
    page = Page(render_errors(read_classification(predicted, gold), jupyter=False))
    assert page.outside == [] and page.text("lm-quote") == ["<script>1</script>"]
    assert page.text("lm-matrix")[0].startswith(name)
