"""`python -m spacy ulmfit`."""

import pytest
import spacy
from spacy.cli._util import app
from spacy.cli.apply import apply
from typer.testing import CliRunner

import spacy_elmo_ulmfit.cli  # noqa: F401

from ..explain.util import train_classifier
from ..util_html import Page

TEXT = "the tea was hot on the night train"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("textcat") / "pipeline"
    train_classifier().to_disk(path)
    return path


def run(*arguments):
    return CliRunner().invoke(app, ["ulmfit", *map(str, arguments)])


def refused(result, *parts):
    output = " ".join(result.output.split())
    assert result.exit_code == 1, output
    assert all(part in output for part in parts), output


def test_explain_writes_a_page_and_prints_the_strongest_tokens(path, tmp_path):
    output = tmp_path / "pages" / "page.html"
    result = run("explain", path, TEXT, "-o", output, "--label", "food")
    assert result.exit_code == 0, result.output
    page = Page(output.read_text(encoding="utf-8"))
    assert page.texts["lm-text"] == [TEXT]
    assert page.outside == []
    assert "why food" in result.output and "Correlation" not in result.output
    assert [found.name for found in output.parent.iterdir()] == ["page.html"]


def test_explain_reads_a_file_and_compares_all_methods(path, tmp_path):
    source, output = tmp_path / "text.txt", tmp_path / "page.html"
    source.write_text(TEXT, encoding="utf-8")
    result = run("explain", path, source, "-o", output, "--method", "all")
    assert result.exit_code == 0, result.output
    assert Page(output.read_text(encoding="utf-8")).texts["lm-text"] == [TEXT] * 3
    for method in ("intrinsic-attention", "input-gradients"):
        assert f"Correlation of {method} with occlusion: " in result.output


def test_a_text_may_end_like_a_file(path, tmp_path):
    output = tmp_path / "page.html"
    assert run("explain", path, "see tea.txt", "-o", output).exit_code == 0


def test_explain_says_what_is_wrong_and_writes_nothing(path, tmp_path):
    output = ["-o", tmp_path / "page.html"]
    refused(run("explain", path, "no.txt", *output), "There is no file no.txt")
    wrong = run("explain", path, TEXT, *output, "--label", "sport")
    refused(wrong, "no label 'sport'", "food, travel")
    missing = run("explain", tmp_path / "none", TEXT, *output)
    refused(missing, "no pipeline", "spacy train")
    blank = tmp_path / "blank"
    spacy.blank("en").to_disk(blank)
    refused(run("explain", blank, TEXT, *output), "no component made by")
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\xfa")
    refused(run("explain", path, binary, *output), "binary.txt is not UTF-8")
    refused(run("explain", path, TEXT, "-o", tmp_path), "is a directory")
    assert not (tmp_path / "page.html").exists()


def test_errors_writes_a_page_of_what_spacy_evaluate_scores(
    path, textcat_corpus, tmp_path
):
    output = tmp_path / "errors.html"
    result = run("errors", path, textcat_corpus, "-o", output, "--limit", 3)
    assert result.exit_code == 0, result.output
    page = Page(output.read_text(encoding="utf-8"))
    assert len(page.text("lm-quote")) == 3
    assert page.text("h1") == ["Where pipeline is wrong"]
    assert "food" in result.output and "predicted" in result.output


def test_errors_reads_the_predictions_that_spacy_apply_wrote(
    path, textcat_corpus, tmp_path
):
    predictions, output = tmp_path / "predictions.spacy", tmp_path / "errors.html"
    apply(textcat_corpus, predictions, str(path), "text", 8, 1)
    pages = []
    for predictor in (path, predictions):
        assert run("errors", predictor, textcat_corpus, "-o", output).exit_code == 0
        pages.append(Page(output.read_text(encoding="utf-8")).text("lm-card"))
    assert pages[0] == pages[1]


def test_errors_says_what_is_wrong_and_writes_nothing(path, textcat_corpus, tmp_path):
    output = ["-o", tmp_path / "page.html"]
    refused(run("errors", path, tmp_path / "no.spacy", *output), "no file", "no.spacy")
    found = run("errors", textcat_corpus, textcat_corpus, *output, "--component", "x")
    refused(found, "--component is about a pipeline")
    assert not (tmp_path / "page.html").exists()
