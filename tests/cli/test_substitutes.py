from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_elmo_ulmfit.cli  # noqa: F401


def run(*args):
    return CliRunner().invoke(app, ["lm", "substitutes", *args])


def test_each_word_has_its_candidates(elmo_path):
    result = run(str(elmo_path), "Anna drinks tea .", "-n", "2")
    assert result.exit_code == 0
    for word in ("Anna", "drinks", "tea", "forward", "backward", "both"):
        assert word in result.output


def test_a_pipeline_without_a_bilm_is_refused_in_one_sentence(awd_lstm_path):
    result = run(str(awd_lstm_path), "tea")
    assert result.exit_code == 1 and "elmo_tok2vec" in result.output
