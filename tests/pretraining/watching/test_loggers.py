import io

import pytest
import spacy
import srsly

from spacy_elmo_ulmfit.pretraining.watching.loggers import create_lm_console_logger


def info(step=10, loss=2.0, **scores):
    return {
        "epoch": 1,
        "step": step,
        "score": 0.1,
        "other_scores": {
            "perplexity": 12.345,
            "perplexity_forward": 11.0,
            "learn_rate": 0.002,
            "grad_norm": 0.51234,
            "tokens_per_second": 3000.4,
            "seconds_left": 3725.2,
            **scores,
        },
        "losses": {"sentencizer": 0.0, "lm": loss},
        "checkpoints": [(0.1, step)],
        "seconds": 4,
        "words": 12000,
        "max_steps": 100,
    }


def log(*rows, n_samples=0, **settings):
    nlp, stdout, stderr = spacy.blank("en"), io.StringIO(), io.StringIO()
    nlp.config["training"]["eval_frequency"] = 5
    nlp.config["lm"] = {"n_samples": n_samples}
    logger = create_lm_console_logger(**{"progress_bar": False, **settings})
    log_step, finalize = logger(nlp, stdout, stderr)
    for row in rows:
        log_step(row)
    finalize()
    return stdout.getvalue(), stderr.getvalue()


def test_table_shows_training_and_held_out_perplexity():
    stdout, _ = log(info(perplexity_backward=14.0))
    header, line, row = stdout.splitlines()
    assert row.split() == [
        "1", "10", "12,000", "2.000", "7.39", "12.35", "11.00", "14.00", "2.00e-03",
        "0.512", "3,000", "1:02:05",
    ]  # fmt: skip
    assert header.split()[:3] == ["E", "#", "TOKENS"]
    assert len(header) == len(line) == len(row)


def test_a_model_of_one_direction_has_an_empty_column():
    stdout, _ = log(info())
    header, _, row = stdout.splitlines()
    assert len(row) == len(header) and len(row.split()) == 11


def test_a_sampled_loss_is_not_called_perplexity():
    header = log(info())[0].splitlines()[0]
    sampled = log(info(), n_samples=100)[0].splitlines()[0]
    assert "TRAIN PPL" in header and "SAMPLED" not in header
    assert "SAMPLED" in sampled and "TRAIN PPL" not in sampled


def test_row_before_training_has_no_training_perplexity():
    row = {**info(step=0, loss=0.0), "words": 0, "seconds": 0}
    for name in ("grad_norm", "tokens_per_second", "seconds_left"):
        del row["other_scores"][name]
    stdout, _ = log(row)
    assert stdout.splitlines()[2].split() == [
        "1",
        "0",
        "0",
        "12.35",
        "11.00",
        "2.00e-03",
    ]


@pytest.mark.parametrize("loss", [709.0, 1e3, 1e6])
def test_a_huge_loss_does_not_stop_the_training(loss):
    assert "12.35" in log(info(loss=loss))[0]


def test_steps_without_evaluation_print_nothing():
    assert log(None, None)[0] == log()[0]


def test_rows_are_appended_to_a_file(tmp_path):
    path = tmp_path / "deep" / "log.jsonl"
    log(info(step=1), None, info(step=2, loss=1.5), output_file=path)
    log(info(step=3), output_file=path)
    records = list(srsly.read_jsonl(path))
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[1]["loss"] == 1.5
    assert records[1]["perplexity"] == 12.345
    assert records[1]["tokens"] == 12000
    assert records[1]["grad_norm"] == 0.51234
    assert records[1]["tokens_per_second"] == 3000.4
    assert records[1]["seconds_left"] == 3725.2


def test_progress_bar_goes_to_the_error_stream():
    stdout, stderr = log(info(), None, None, progress_bar=True)
    assert "step" in stderr and "step" not in stdout


def test_a_resumed_run_shows_a_progress_bar_before_its_first_evaluation():
    _, stderr = log(None, None, progress_bar=True)
    assert "step" in stderr
    assert log(None, None) == log()
