import sys

import pytest
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_elmo_ulmfit.cli  # noqa: F401

from ..conftest import TEXTS
from .test_lm import CONFIGS


@pytest.fixture
def run(tmp_path, write_text):
    pytest.importorskip("matplotlib")
    text = write_text(TEXTS * 20)

    def function(component, *arguments):
        config = tmp_path / "config.cfg"
        config.write_text(CONFIGS[component], encoding="utf-8")
        paths = ["--paths.train", text, "--paths.dev", text]
        command = ["lm", "find-lr", config, *arguments, *paths]
        return CliRunner().invoke(app, list(map(str, command)))

    return function


def test_the_picture_is_all_that_is_left(run, tmp_path):
    output = tmp_path / "deep" / "lr.png"
    result = run("awd_lstm_tok2vec", "-o", output)
    assert result.exit_code == 0, result.output
    assert "valley" in result.output and "steepest" in result.output
    assert output.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in output.parent.iterdir()] == ["lr.png"]


def test_rates_of_fine_tuning_too(run, tmp_path, elmo_path):
    before = {p: p.read_bytes() for p in elmo_path.rglob("*") if p.is_file()}
    result = run("elmo_tok2vec", "-o", tmp_path / "lr.svg", "--from", elmo_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "lr.svg").read_text("utf-8").lstrip().startswith("<?xml")
    assert before == {p: p.read_bytes() for p in elmo_path.rglob("*") if p.is_file()}


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["-o", "lr.txt"], "no ending of a picture"),
        (["-o", "lr.png", "--start", "1", "--end", "0.1"], "above the first"),
        (["-o", "lr.png", "--lm.bppt", "3"], "bppt"),
    ],
)
def test_what_does_not_work_is_one_sentence(run, arguments, message):
    result = run("elmo_tok2vec", *arguments)
    assert result.exit_code == 1 and message in " ".join(result.output.split())


def test_a_missing_matplotlib_is_told_before_any_training(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    result = run("elmo_tok2vec", "-o", "lr.png", "--paths.train", "nowhere.txt")
    assert result.exit_code == 1 and "[plots]" in result.output
