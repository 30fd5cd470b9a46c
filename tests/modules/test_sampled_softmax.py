"""Sampled softmax, where it can be checked against the full one."""

import math

import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules.sampled_softmax import (
    WordSample,
    sample_words,
    sampled_softmax_loss,
)

N_WORDS, WIDTH = 60, 4


def inputs(n_rows=8):
    torch.manual_seed(3)
    hidden = torch.randn(n_rows, WIDTH, requires_grad=True)
    weight = torch.randn(N_WORDS, WIDTH, requires_grad=True)
    bias = torch.randn(N_WORDS, requires_grad=True)
    return hidden, torch.randint(N_WORDS, (n_rows,)), weight, bias


def test_words_are_distinct_and_sampled_as_often_as_expected():
    torch.manual_seed(0)
    n_draws, times, expected = 2000, torch.zeros(N_WORDS), torch.zeros(N_WORDS)
    for _ in range(n_draws):
        sample = sample_words(20, N_WORDS)
        assert len(sample.ids.unique()) == 20
        times[sample.ids] += 1
        expected += sample.log_expected_counts(torch.arange(N_WORDS)).exp()
    # Standard errors of shares are below 0.012.
    torch.testing.assert_close(times / n_draws, expected / n_draws, rtol=0.0, atol=0.05)
    assert times[0] > times[5] > times[40]


def test_expected_counts_are_those_of_the_published_formula():
    sample = WordSample(torch.tensor([0, 3]), 7, 10)
    for word in range(10):
        p = math.log((word + 2) / (word + 1)) / math.log(11)
        found = sample.log_expected_counts(torch.tensor(word)).exp().item()
        assert found == pytest.approx(1 - (1 - p) ** 7, rel=1e-5)


def test_the_loss_is_that_of_the_target_among_the_sample():
    hidden, targets, weight, bias = inputs()
    # Word 5 is a target and in the sample: that must not count as another word.
    targets[0] = 5
    sample = WordSample(torch.tensor([1, 5, 9, 30]), 6, N_WORDS)
    counts = sample.log_expected_counts(torch.arange(N_WORDS))
    scores = hidden @ weight.t() + bias - counts
    losses = []
    for row, target in zip(scores, targets.tolist()):
        words = [target, *(i for i in sample.ids.tolist() if i != target)]
        losses.append(F.cross_entropy(row[words], torch.tensor(0)))
    wanted = torch.stack(losses).sum()
    found = sampled_softmax_loss(hidden, targets, weight, bias, sample)
    torch.testing.assert_close(found, wanted)
    leaves = [hidden, weight, bias]
    for one, other in zip(
        torch.autograd.grad(found, leaves), torch.autograd.grad(wanted, leaves)
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def gradients():
    """Of the full softmax, and of the sampled one in many draws.

    The model knows the words' frequencies and little more.
    """
    torch.manual_seed(3)
    hidden = (torch.randn(8, WIDTH) * 0.2).requires_grad_()
    weight = torch.randn(300, WIDTH, requires_grad=True)
    bias = (-torch.log(torch.arange(300) + 2.0)).requires_grad_()
    logits = F.linear(hidden, weight, bias)
    targets = logits.detach().softmax(dim=1).multinomial(1).squeeze(1)
    leaves = [hidden, weight, bias]

    def gradient(loss):
        parts = torch.autograd.grad(loss, leaves)
        return torch.cat([part.flatten() for part in parts])

    def draw():
        sample = sample_words(200, 300)
        return gradient(sampled_softmax_loss(hidden, targets, weight, bias, sample))

    full = gradient(F.cross_entropy(logits, targets, reduction="sum"))
    return full, draw


def gap_and_error(full, draws):
    """Distance of the mean from the full softmax's gradient, and its standard error."""
    error = draws.std(dim=0).norm() / len(draws) ** 0.5
    return (draws.mean(dim=0) - full).norm(), error


def test_the_mean_gradient_over_many_samples_is_that_of_the_full_softmax(gradients):
    full, draw = gradients
    gap, error = gap_and_error(full, torch.stack([draw() for _ in range(400)]))
    assert gap < 2 * error < 0.005 * full.norm()


def test_without_the_expected_counts_it_would_be_another(gradients, monkeypatch):
    full, draw = gradients
    monkeypatch.setattr(
        WordSample, "log_expected_counts", lambda self, ids: torch.zeros(ids.shape)
    )
    gap, error = gap_and_error(full, torch.stack([draw() for _ in range(400)]))
    assert gap > 10 * error


def test_one_seed_gives_one_sample():
    samples = []
    for _ in range(2):
        torch.manual_seed(5)
        samples.append(sample_words(7, 50))
    assert torch.equal(samples[0].ids, samples[1].ids)
    assert samples[0].n_tries == samples[1].n_tries


@pytest.mark.parametrize("n_samples", [0, 60, 61])
def test_samples_must_be_fewer_than_the_words(n_samples):
    with pytest.raises(ValueError, match="n_samples"):
        sample_words(n_samples, N_WORDS)


def test_all_words_but_one_can_be_sampled():
    assert len(sample_words(N_WORDS - 1, N_WORDS).ids) == N_WORDS - 1
