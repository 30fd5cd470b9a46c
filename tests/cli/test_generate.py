from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_elmo_ulmfit.cli  # noqa: F401


def run(*args):
    return CliRunner().invoke(app, ["lm", "generate", *map(str, args)])


def test_the_text_goes_on_from_the_prompt_the_same_for_a_seed(awd_lstm_path):
    printed = [run(awd_lstm_path, "Anna drinks", "-n", 5, "-s", 1) for _ in range(2)]
    assert printed[0].exit_code == 0
    text = printed[0].output.splitlines()[-1]
    assert text.startswith("Anna drinks ") and len(text) > len("Anna drinks ")
    assert printed[1].output == printed[0].output


def test_several_texts_are_told_apart(elmo_path):
    result = run(elmo_path, "Anna", "--beams", 3, "--n-samples", 2, "-n", 4)
    assert result.exit_code == 0
    assert result.output.count("log-probability") == 2
    assert sum(line.startswith("Anna ") for line in result.output.splitlines()) == 2


def test_what_does_not_work_is_one_sentence(elmo_path, backward_path):
    result = run(backward_path, "Anna")
    assert result.exit_code == 1 and "forward model" in result.output
    result = run(elmo_path, "Anna", "--min-p", 2)
    assert result.exit_code == 1 and "min_p" in result.output
