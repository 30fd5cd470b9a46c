"""NT-ASGD: when averaging starts, what is averaged, and who sees it."""

import copy

import pytest
import torch
from torch import nn

from spacy_elmo_ulmfit.pretraining.steps.averaging import NTASGD, averaged_weights


def make(nonmono=2):
    torch.manual_seed(0)
    module = nn.Linear(3, 1)
    groups = [{"params": [parameter]} for parameter in module.parameters()]
    optimizer = NTASGD(groups, nonmono=nonmono, weight_decay=0.1)
    for group in optimizer.param_groups:
        group["lr"] = 0.1
    return module, optimizer


def take_steps(module, optimizer, n):
    """Take steps; return the weights after each."""
    trace = []
    for _ in range(n):
        optimizer.zero_grad()
        module(torch.ones(2, 3)).square().sum().backward()
        optimizer.step()
        trace.append(module.weight.detach().clone())
    return trace


def starts_after(perplexities, nonmono):
    """Return after which evaluation averaging starts."""
    _, optimizer = make(nonmono)
    for n in range(1, len(perplexities) + 1):
        optimizer.observe(perplexities[:n])
        if optimizer.param_groups[0]["averaging"]:
            return n
    return None


@pytest.mark.parametrize(
    "perplexities, expected",
    [
        ([9, 8, 7, 6, 5, 4], None),
        # The 8 is worse than the 5, which is older than the last two.
        ([9, 5, 6, 7, 8], 5),
        # A better one among the last two does not put it off, as in the authors' code.
        ([9, 5, 6, 7, 4, 6, 6, 6], 6),
        # No better, but no worse either.
        ([5, 5, 5, 5, 5], None),
        ([5, 6], None),
    ],
)
def test_averaging_starts_when_evaluations_stop_improving(perplexities, expected):
    assert starts_after(perplexities, nonmono=2) == expected


def test_nonmono_is_how_long_to_wait():
    perplexities = [9.0, 5.0, *[6.0] * 10]
    assert [starts_after(perplexities, n) for n in (0, 1, 2, 5)] == [3, 4, 5, 8]


def test_averages_are_those_of_the_weights_from_the_start_on():
    module, optimizer = make()
    before = take_steps(module, optimizer, 3)
    optimizer.observe([5, 6, 6, 6])
    after = take_steps(module, optimizer, 4)
    with averaged_weights(optimizer):
        torch.testing.assert_close(module.weight, torch.stack(after).mean(0))
    # Training itself is plain gradient descent.
    plain, _ = make()
    sgd = torch.optim.SGD(plain.parameters(), lr=0.1, weight_decay=0.1)
    for weight, expected in zip(before + after, take_steps(plain, sgd, 7)):
        assert torch.equal(weight, expected)


def test_the_weights_are_back_after_a_look_at_their_averages():
    module, optimizer = make()
    optimizer.observe([5, 6, 6, 6])
    take_steps(module, optimizer, 3)
    weights = module.weight.detach().clone()
    with pytest.raises(KeyError), averaged_weights(optimizer):
        average = module.weight.detach().clone()
        raise KeyError
    assert torch.equal(module.weight, weights)
    with averaged_weights(optimizer):
        assert torch.equal(module.weight, average)
        assert not torch.equal(average, weights)


@pytest.mark.parametrize("averaging", [False, True])
def test_averages_go_on_from_a_saved_state(averaging):
    module, optimizer = make()
    perplexities = [5, 6, 6, 6] if averaging else [5]
    optimizer.observe(perplexities)
    take_steps(module, optimizer, 3)
    other, restored = make()
    other.load_state_dict(module.state_dict())
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for pair in ((module, optimizer), (other, restored)):
        take_steps(*pair, 3)
    with averaged_weights(optimizer), averaged_weights(restored):
        assert torch.equal(module.weight, other.weight)


def test_other_optimizers_have_no_averages():
    module = nn.Linear(3, 1)
    before = module.weight.detach().clone()
    with averaged_weights(torch.optim.SGD(module.parameters(), lr=0.1)):
        assert torch.equal(module.weight, before)
