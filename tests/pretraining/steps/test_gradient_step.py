"""Gradients of windows add up to one step, which is taken only if it is finite."""

import math

import pytest
import torch
from torch import nn

from spacy_elmo_ulmfit.pretraining.steps.gradient_step import GradientStep

INPUTS = torch.linspace(-1.0, 1.0, 24).reshape(12, 2)
TARGETS = torch.linspace(2.0, -3.0, 12).unsqueeze(1)
NO_PENALTY = torch.zeros(())
OVERFLOW = torch.full((), math.inf)


def make_step(max_norm=0.0, scaler=None):
    torch.manual_seed(0)
    module = nn.Linear(2, 1)
    optimizer = torch.optim.SGD(module.parameters(), lr=0.0)
    optimizer.param_groups[0]["lr_scale"] = 1.0
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    return GradientStep(module, optimizer, max_norm=max_norm, scaler=scaler)


def add(step, start, end, penalty=0.0):
    """Add the loss of some examples, and a penalty on their mean output."""
    output = step.module(INPUTS[start:end])
    loss = (output - TARGETS[start:end]).square().sum()
    step.add(loss, penalty * output.mean(), end - start)


def weights(step):
    return torch.cat([p.detach().clone().flatten() for p in step.module.parameters()])


@pytest.mark.parametrize("max_norm", [0.0, 0.1])
@pytest.mark.parametrize("edges", [(0, 12), (0, 6, 12), (0, 1, 9, 12)])
def test_windows_give_the_step_of_one_larger_batch(edges, max_norm):
    whole, parts = make_step(max_norm), make_step(max_norm)
    add(whole, 0, 12, penalty=0.5)
    for start, end in zip(edges, edges[1:]):
        add(parts, start, end, penalty=0.5)
    for step in (whole, parts):
        step.take(0.1)
    assert parts.norm == pytest.approx(whole.norm)
    torch.testing.assert_close(weights(parts), weights(whole))


def test_windows_without_targets_change_nothing():
    step = make_step()
    before = weights(step)
    add(step, 3, 3)
    step.take(0.1)
    assert torch.equal(weights(step), before) and step.norm == 0.0
    other = make_step()
    for start, end in ((3, 3), (3, 6), (6, 6)):
        add(step, start, end)
    add(other, 3, 6)
    for each in (step, other):
        each.take(0.1)
    assert torch.equal(weights(step), weights(other))


def test_nothing_of_a_step_is_left_for_the_next():
    once, twice = make_step(), make_step()
    add(twice, 0, 6)
    twice.take(0.0)
    for step in (once, twice):
        add(step, 6, 9)
        add(step, 9, 12)
        step.take(0.1)
    assert torch.equal(weights(once), weights(twice))


@pytest.mark.parametrize("max_norm", [0.0, 0.1])
def test_gradients_that_are_not_finite_move_nothing(max_norm):
    step = make_step(max_norm)
    before = weights(step)
    # The loss is zero, its slope is not.
    output = step.module(torch.zeros(1, 2)) - step.module.bias.detach()
    step.add(output.sqrt().sum(), NO_PENALTY, 1)
    with pytest.raises(FloatingPointError, match="norm of the gradients is (inf|nan)"):
        step.take(0.1)
    assert torch.equal(weights(step), before)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["loss", "penalty"])
def test_a_loss_that_is_not_finite_is_an_error(value, where):
    good, bad = torch.ones(()), torch.tensor(value)
    terms = (bad, good) if where == "loss" else (good, bad)
    with pytest.raises(FloatingPointError, match=f"The loss is {value}"):
        make_step().add(*terms, 1)


def scaled_step():
    return make_step(max_norm=0.5, scaler=torch.amp.GradScaler("cpu", init_scale=8.0))


def test_scaled_losses_give_the_same_step():
    plain, scaled = make_step(max_norm=0.5), scaled_step()
    for step in (plain, scaled):
        add(step, 0, 3)
        add(step, 3, 12)
        step.take(0.1)
    torch.testing.assert_close(weights(scaled), weights(plain))
    assert scaled.norm == pytest.approx(plain.norm)


def overflow(step):
    step.module.weight.grad = OVERFLOW.expand(1, 2).clone()
    step.take(0.1)


def test_an_overflow_of_scaled_gradients_skips_the_step_and_lowers_the_scale():
    step = scaled_step()
    before = weights(step)
    add(step, 0, 3)
    overflow(step)
    assert torch.equal(weights(step), before)
    assert step.scaler.get_scale() == 4.0
    add(step, 0, 3)
    step.take(0.1)
    assert not torch.equal(weights(step), before)


def test_gradients_that_overflow_at_every_scale_are_an_error():
    step = scaled_step()
    with pytest.raises(FloatingPointError, match="norm of the gradients is inf"):
        for _ in range(10):
            add(step, 0, 3)
            overflow(step)


def test_the_scale_is_restored():
    step, other = scaled_step(), scaled_step()
    add(step, 0, 3)
    overflow(step)
    other.load_state_dict(step.state_dict())
    assert other.scaler.get_scale() == 4.0
    # Of a run that took up, or gave up, half precision.
    make_step().load_state_dict(step.state_dict())
    scaled_step().load_state_dict(make_step().state_dict())
