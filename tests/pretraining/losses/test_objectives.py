import numpy
import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules.awd_lstm import activation_regularization
from spacy_elmo_ulmfit.modules.sampled_softmax import sample_words
from spacy_elmo_ulmfit.pretraining.batching.layout import NO_TARGET
from spacy_elmo_ulmfit.pretraining.losses import word_losses
from spacy_elmo_ulmfit.pretraining.losses.objectives import (
    build_vocabulary,
    create_objective,
)
from spacy_elmo_ulmfit.text import DocTokenizer

from ...util import char_ids, tiny_bilm, tiny_classifier
from ..conftest import make_setting, rows_of, step_of, text_of, windows_of

DOCUMENTS = [["a", "b", "c"], ["d"], ["e", "a"], ["b", "f", "g", "h", "i"]]


def reference_losses(setting, rows, kind):
    """Summed cross-entropy of each direction, rows read in one pass."""
    module, losses = setting.module, []
    for direction, (inputs, targets) in enumerate(zip(rows.inputs, rows.targets)):
        if kind != "bilm":
            logits = module(torch.from_numpy(inputs))[0]
        else:
            chars = char_ids(setting.stream.types)
            index = torch.from_numpy(inputs)
            layers = module.encode(
                chars,
                (index.flip(1) if direction else index).reshape(-1),
                [index.shape[1]] * len(index),
                initial_state="zeros",
            )
            width = module.config.projection_dim
            top = layers[-1].view(*index.shape, 2, width)[:, :, direction]
            logits = module.logits(top.flip(1) if direction else top)
        losses.append(
            F.cross_entropy(
                logits.flatten(0, 1),
                torch.from_numpy(targets).flatten(),
                reduction="sum",
                ignore_index=NO_TARGET,
            )
        )
    return torch.stack(losses)


@pytest.mark.parametrize("cutoffs", [(), (4, 9)])
@pytest.mark.parametrize("pad", [True, False])
def test_losses_are_the_cross_entropy_of_plain_logits(kind, pad, cutoffs):
    setting = make_setting(kind, DOCUMENTS, softmax_cutoffs=cutoffs)
    objective = create_objective(setting.module)
    rows = rows_of(setting, 2, pad)
    result = step_of(setting, rows, objective)
    expected = reference_losses(setting, rows, kind)
    torch.testing.assert_close(result.losses, expected, rtol=1e-5, atol=1e-5)
    assert result.n_targets == int((rows.targets[0] != NO_TARGET).sum())
    assert result.penalty.item() == 0.0
    found = torch.autograd.grad(result.losses.sum(), list(setting.module.parameters()))
    wanted = torch.autograd.grad(expected.sum(), list(setting.module.parameters()))
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_windows_with_carried_state_are_one_pass(kind):
    setting = make_setting(kind, DOCUMENTS)
    objective = create_objective(setting.module)
    rows = rows_of(setting, 2)
    whole = step_of(setting, rows, objective)
    state, total = objective.zero_state(2), 0.0
    for window in windows_of(setting, rows, 3):
        result = objective.step(window, state)
        state, total = result.state, total + result.losses
    torch.testing.assert_close(total, whole.losses)


def test_a_window_without_any_target_has_no_loss(kind):
    setting = make_setting(kind, DOCUMENTS)
    objective = create_objective(setting.module)
    inputs = numpy.ones((len(objective.directions), 2, 3), dtype=numpy.int64)
    targets = numpy.full_like(inputs, NO_TARGET)
    window = text_of(setting).window(inputs, targets)
    result = objective.step(window, objective.zero_state(2))
    assert result.n_targets == 0 and not result.losses.any()


def test_a_step_samples_once_for_all_directions(kind, monkeypatch):
    setting = make_setting(kind, DOCUMENTS)
    objective = create_objective(setting.module, n_samples=4)
    rows = rows_of(setting, 2, pad=True)
    drawn = []

    def sample(*arguments):
        drawn.append(sample_words(*arguments))
        return drawn[-1]

    monkeypatch.setattr(word_losses, "sample_words", sample)
    result = step_of(setting, rows, objective)
    assert len(drawn) == 1 and len(drawn[0].ids) == 4
    assert len(result.losses) == len(objective.directions)
    result.losses.sum().backward()
    assert all(p.grad is not None for p in setting.module.parameters())


def test_sampled_losses_are_near_the_full_ones_if_nearly_all_are_sampled(kind):
    setting = make_setting(kind, DOCUMENTS)
    losses = []
    for n_samples in (0, len(setting.vocabulary) - 1):
        objective = create_objective(setting.module, n_samples=n_samples)
        result = step_of(setting, rows_of(setting, 2, pad=True), objective)
        losses.append(result.losses)
    torch.testing.assert_close(losses[1], losses[0], rtol=0.05, atol=0.0)


def test_penalty_of_the_awd_lstm_is_ar_and_tar():
    setting = make_setting("awd_lstm", DOCUMENTS)
    objective = create_objective(setting.module, alpha=2.0, beta=1.0)
    rows = rows_of(setting, 2)
    result = step_of(setting, rows, objective)
    encoded = setting.module.encode(torch.from_numpy(rows.inputs[0]))
    expected = activation_regularization(
        encoded.output, encoded.raw_outputs[-1], 2.0, 1.0
    )
    torch.testing.assert_close(result.penalty, expected)


def test_bfloat16_losses_are_near_those_of_float32(kind):
    setting = make_setting(kind, DOCUMENTS)
    results = []
    for dtype in (torch.float32, torch.bfloat16):
        objective = create_objective(setting.module, dtype=dtype)
        rows = rows_of(setting, 2)
        result = step_of(setting, rows, objective)
        results.append(result.losses)
    torch.testing.assert_close(results[1], results[0], rtol=0.02, atol=0.0)


def test_both_boundaries_are_as_frequent_as_sentences():
    setting = make_setting("bilm", DOCUMENTS)
    assert setting.vocabulary.words[:3] == ["<S>", "</S>", "<UNK>"]
    assert setting.vocabulary.counts[:2] == [4, 4]


def test_special_words_of_the_awd_lstm_keep_their_ids_without_occurring():
    vocabulary = build_vocabulary({"tea": 3}, DocTokenizer(), max_size=0, min_freq=1)
    assert vocabulary.ids(["xxunk", "xxpad", "xxbos", "tea"]) == [0, 1, 2, 9]


def test_models_that_predict_no_words_are_refused():
    with pytest.raises(ValueError, match="no softmax"):
        create_objective(tiny_bilm(n_words=0))
    with pytest.raises(TypeError, match="ULMFiTClassifier"):
        create_objective(tiny_classifier())
