"""Ensembles and pseudo-labels, as the project's commands run them."""

import importlib

import numpy
import pytest
import spacy
import srsly
import typer
from spacy.tokens import DocBin
from typer.testing import CliRunner

from ..explain.util import train_classifier
from .test_scripts import ROOT, docs

DEV = [("a bowl of hot soup", "food"), ("a train at night", "travel")]
NEW = ["soup with bread and tea", "the night train", "bread", "a bus to the border"]


@pytest.fixture
def run(monkeypatch):
    """Run a script in this process, as one of many would take too long to start."""
    monkeypatch.syspath_prepend(ROOT / "scripts")

    def run(name, *arguments, code=0):
        app = typer.Typer()
        app.command()(importlib.import_module(name).main)
        result = CliRunner().invoke(app, [str(part) for part in arguments])
        assert result.exit_code == code, result.output
        return " ".join(result.output.split())

    return run


@pytest.fixture(scope="module")
def pipelines(tmp_path_factory):
    paths = [tmp_path_factory.mktemp("seed") / name for name in ("one", "two")]
    for seed, path in enumerate(paths):
        train_classifier(seed=seed).to_disk(path)
    return paths


def write(path, rows, labels=("food", "travel")):
    nlp = spacy.blank("en")
    found = []
    for text, label in rows:
        doc = nlp.make_doc(text)
        doc.cats = {name: float(name == label) for name in labels}
        found.append(doc)
    DocBin(docs=found).to_disk(path)
    return path


@pytest.fixture
def dev(tmp_path):
    return write(tmp_path / "dev.spacy", DEV)


@pytest.fixture
def arguments(pipelines, dev, tmp_path):
    """Arguments of pseudo_label.py that add all there is."""
    texts = tmp_path / "texts.txt"
    repeated = [NEW[0].upper(), f"  {DEV[0][0].title()} ", "Tea"]
    texts.write_text("\n".join([*NEW, *repeated]) + "\n", encoding="utf-8")
    labelled = write(tmp_path / "labelled.spacy", [("tea", "food")])
    return [
        *pipelines, "--texts", texts, "--labelled", labelled, "--exclude", dev,
        "--output", tmp_path / "out.spacy", "--report", tmp_path / "report.json",
    ]  # fmt: skip


def test_the_mean_of_classifiers_is_scored_beside_each_of_them(
    run, pipelines, dev, tmp_path
):
    output, predictions = tmp_path / "m" / "metrics.json", tmp_path / "mean.spacy"
    printed = run(
        "ensemble", *pipelines,
        "--data", dev, "--output", output, "--predictions", predictions,
    )  # fmt: skip
    assert "ensemble" in printed and "±" in printed
    metrics = srsly.read_json(output)
    nlps = [spacy.load(path) for path in pipelines]
    for path, nlp in zip(pipelines, nlps):
        expected = nlp.evaluate(list(spacy.training.Corpus(dev)(nlp)))
        for name, value in metrics["members"][str(path)].items():
            assert value == pytest.approx(expected[name])
    for doc, (text, _) in zip(docs(predictions), DEV):
        assert doc.text == text
        for label, score in doc.cats.items():
            members = [nlp(text).cats[label] for nlp in nlps]
            assert score == pytest.approx(numpy.mean(members), abs=1e-6)
    right = [max(doc.cats, key=doc.cats.get) == label for doc, (_, label) in zip(docs(predictions), DEV)]  # fmt: skip
    assert metrics["ensemble"]["cats_micro_f"] == pytest.approx(numpy.mean(right))


def test_classifiers_of_other_labels_cannot_be_averaged(run, pipelines, dev, tmp_path):
    other = spacy.blank("en")
    other.add_pipe("textcat").add_label("sports")
    other.get_pipe("textcat").add_label("food")
    other.initialize()
    other.to_disk(tmp_path / "other")
    output = tmp_path / "metrics.json"
    printed = run(
        "ensemble", pipelines[0], tmp_path / "other", tmp_path / "none",
        "--data", dev, "--output", output, code=1,
    )  # fmt: skip
    assert "no pipeline" in printed
    printed = run(
        "ensemble", pipelines[0], tmp_path / "other",
        "--data", dev, "--output", output, code=1,
    )  # fmt: skip
    assert "has the labels sports, food" in printed
    assert not output.exists()


def test_sure_texts_get_the_label_that_the_mean_gives_them(
    run, arguments, pipelines, tmp_path
):
    printed = run("pseudo_label", *arguments, "--confidence", 0.5)
    found = docs(tmp_path / "out.spacy")
    assert found[0].text == "tea"
    assert {doc.text for doc in found[1:]} == set(NEW)
    nlps = [spacy.load(path) for path in pipelines]
    for doc in found[1:]:
        food = numpy.mean([nlp(doc.text).cats["food"] for nlp in nlps])
        assert doc.cats == {"food": float(food > 0.5), "travel": float(food <= 0.5)}
    report = srsly.read_json(tmp_path / "report.json")
    assert report["texts"] == {"read": 7, "repeated": 1, "labelled or excluded": 2}
    assert report["labelled"] == {"food": 1, "travel": 0}
    assert sum(report["added"].values()) == 4
    assert "added" in printed


def test_no_text_of_the_dev_part_is_ever_added(run, arguments, tmp_path):
    run("pseudo_label", *arguments, "--confidence", 0.5)
    excluded = {text.casefold() for text, _ in DEV}
    texts = [" ".join(doc.text.casefold().split()) for doc in docs(tmp_path / "out.spacy")]  # fmt: skip
    assert not excluded & set(texts) and len(texts) == len(set(texts))


def test_each_label_gets_its_surest_texts_up_to_a_limit(run, arguments, tmp_path):
    run("pseudo_label", *arguments, "--confidence", 0.5)
    unlimited = docs(tmp_path / "out.spacy")[1:]
    run("pseudo_label", *arguments, "--confidence", 0.5, "--per-label", 1)
    limited = docs(tmp_path / "out.spacy")[1:]
    labels = {max(doc.cats, key=doc.cats.get) for doc in unlimited}
    assert len(limited) == len(labels)
    report = srsly.read_json(tmp_path / "report.json")
    assert report["texts"]["above the limit"] == len(unlimited) - len(labels)
    assert max(report["added"].values()) == 1
    for label in labels:
        first = [d.text for d in unlimited if d.cats[label]][0]
        assert [d.text for d in limited if d.cats[label]] == [first]


def test_what_cannot_be_done_is_said_and_nothing_written(run, arguments, tmp_path):
    output = tmp_path / "out.spacy"
    printed = run("pseudo_label", *arguments, "--confidence", 1.0, code=1)
    assert "No text gets a label with a probability of 1.0" in printed
    labelled = write(tmp_path / "labelled.spacy", [("tea", "sports")], ("sports",))
    printed = run("pseudo_label", *arguments, "--labelled", labelled, code=1)
    assert "has the label 'sports'" in printed
    multi = tmp_path / "multi"
    train_classifier("ulmfit_textcat_multilabel").to_disk(multi)
    printed = run("pseudo_label", multi, *arguments[2:], code=1)
    assert "do not exclude each other" in printed
    assert not output.exists()
