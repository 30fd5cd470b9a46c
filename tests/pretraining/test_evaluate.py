import math
from dataclasses import replace

import pytest
import torch

from spacy_elmo_ulmfit.pretraining import evaluate
from spacy_elmo_ulmfit.pretraining.batching import windows
from spacy_elmo_ulmfit.pretraining.evaluate import evaluate_language_model
from spacy_elmo_ulmfit.pretraining.losses.objectives import create_objective

from ..util import make_doc, stream_of
from .conftest import make_setting, rows_of, step_of
from .losses.test_objectives import reference_losses

DOCUMENTS = [["a", "b", "c"], ["d"], ["e", "a"], ["b", "f", "g", "h", "i"]]


def metrics_of(setting, stream=None):
    return evaluate_language_model(
        setting.module, [stream or setting.stream], setting.vocabulary
    )


def n_targets(kind, stream):
    return len(stream.tokens) - (kind != "bilm")


def test_a_uniform_model_is_as_perplexed_as_there_are_words(kind):
    setting = make_setting(kind, DOCUMENTS)
    with torch.no_grad():
        for parameter in setting.module.parameters():
            parameter.zero_()
    metrics = metrics_of(setting)
    assert metrics["perplexity"] == pytest.approx(len(setting.vocabulary))
    assert metrics["perplexity_forward"] == pytest.approx(len(setting.vocabulary))
    assert metrics["n_words"] == len(setting.vocabulary)


def test_perplexity_is_that_of_a_plain_pass_over_the_text(kind, monkeypatch):
    setting = make_setting(kind, DOCUMENTS)
    monkeypatch.setattr(evaluate, "_WINDOW", 4)
    metrics = metrics_of(setting)
    objective = create_objective(setting.module)
    rows = rows_of(setting, 1)
    losses = (reference_losses(setting, rows, kind) / rows.targets[0].size).tolist()
    for direction, loss in zip(objective.directions, losses):
        assert metrics[f"perplexity_{direction}"] == pytest.approx(
            math.exp(loss), rel=1e-4
        )
    mean = sum(losses) / len(losses)
    assert metrics["perplexity"] == pytest.approx(math.exp(mean), rel=1e-4)
    assert ("perplexity_backward" in metrics) is (kind == "bilm")


@pytest.mark.parametrize("row_length", [2, 3, 5, 1000])
@pytest.mark.parametrize("window", [1, 3, 128])
def test_every_token_is_counted_once(kind, row_length, window, monkeypatch):
    setting = make_setting(kind, DOCUMENTS)
    monkeypatch.setattr(windows, "_MIN_ROW_LENGTH", row_length)
    monkeypatch.setattr(evaluate, "_WINDOW", window)
    assert metrics_of(setting)["n_tokens"] == n_targets(kind, setting.stream)


def test_evaluation_leaves_the_model_as_it_was(kind):
    setting = make_setting(kind, DOCUMENTS)
    setting.module.train()
    state = torch.get_rng_state()
    first, second = metrics_of(setting), metrics_of(setting)
    assert first == second
    assert setting.module.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in setting.module.parameters())


def test_words_outside_the_vocabulary_are_counted(kind):
    setting = make_setting(kind, [["a", "b"], ["a"]])
    docs = [make_doc(["a", "new", "words"]), make_doc(["b"])]
    stream = stream_of(kind, docs)
    metrics = metrics_of(setting, stream)
    assert metrics["oov_rate"] == pytest.approx(2 / n_targets(kind, stream))


def test_unigram_perplexity_is_that_of_the_training_counts():
    setting = make_setting("awd_lstm", [["a", "a", "b"]])
    metrics = metrics_of(setting)
    # Nine special words and two others; every count is one higher.
    total = 4 + len(setting.vocabulary)
    losses = [-math.log(3 / total), -math.log(3 / total), -math.log(2 / total)]
    expected = math.exp(sum(losses) / 3)
    assert metrics["unigram_perplexity"] == pytest.approx(expected)


def test_a_repetitive_text_is_learnt(kind):
    sizes = {} if kind == "bilm" else {"embedding_dim": 20, "n_layers": 1}
    setting = make_setting(kind, [["a", "b", "c", "d"]] * 12, **sizes)
    objective = create_objective(setting.module)
    rows = rows_of(setting, 3)
    optimizer = torch.optim.Adam(setting.module.parameters(), lr=0.05)
    before = metrics_of(setting)["perplexity"]
    for _ in range(40):
        result = step_of(setting, rows, objective)
        (result.losses.sum() / rows.targets.size).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert metrics_of(setting)["perplexity"] < 1.3 < 4.0 < before


def test_a_backward_awd_lstm_has_a_backward_perplexity():
    setting = make_setting("awd_lstm", DOCUMENTS)
    setting.module.config = replace(setting.module.config, direction="backward")
    metrics = metrics_of(setting)
    assert metrics["perplexity_backward"] == metrics["perplexity"]
    assert "perplexity_forward" not in metrics
