"""Adaptive softmax: equal to a plain computation, and a distribution over all words."""

from functools import partial

import pytest
import torch

from spacy_elmo_ulmfit.modules.adaptive_softmax import (
    Clusters,
    adaptive_log_probs,
    adaptive_softmax_loss,
)

from ..util import tiny_awd_lstm, tiny_bilm

N_WORDS, WIDTH = 12, 5
CUTOFFS = [[3], [1], [4, 7], [2, 3, 11]]


def inputs(cutoffs, n_rows=300):
    torch.manual_seed(len(cutoffs))
    hidden = torch.randn(n_rows, WIDTH, requires_grad=True)
    weight = torch.randn(N_WORDS, WIDTH, requires_grad=True)
    bias = torch.randn(N_WORDS, requires_grad=True)
    clusters = Clusters(WIDTH, N_WORDS, cutoffs)
    torch.nn.init.normal_(clusters.bias)
    return hidden, torch.randint(N_WORDS, (n_rows,)), weight, bias, clusters


def plain_loss(hidden, target, weight, bias, clusters):
    """One word's loss, written out: its cluster among the common words, then itself."""
    edges = [*clusters.cutoffs, N_WORDS]
    scores = weight @ hidden + bias
    common = scores[: edges[0]]
    first = torch.cat([common, clusters.weight @ hidden + clusters.bias])
    if target < edges[0]:
        return first.logsumexp(0) - first[target]
    number = next(i for i, edge in enumerate(edges) if target < edge) - 1
    within = scores[edges[number] : edges[number + 1]]
    loss = first.logsumexp(0) - first[edges[0] + number]
    return loss + within.logsumexp(0) - scores[target]


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_value_and_gradients_are_those_of_a_plain_computation(cutoffs):
    hidden, targets, weight, bias, clusters = inputs(cutoffs)
    leaves = [hidden, weight, bias, *clusters.parameters()]
    found = adaptive_softmax_loss(hidden, targets, weight, bias, clusters)
    rows = zip(hidden, targets.tolist())
    wanted = torch.stack(
        [plain_loss(row, word, weight, bias, clusters) for row, word in rows]
    ).sum()
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    for one, other in zip(
        torch.autograd.grad(found / 300, leaves),
        torch.autograd.grad(wanted / 300, leaves),
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cutoffs", CUTOFFS)
def test_log_probs_are_a_distribution_and_those_of_the_loss(cutoffs):
    hidden, targets, weight, bias, clusters = inputs(cutoffs)
    log_probs = adaptive_log_probs(hidden, weight, bias, clusters)
    assert log_probs.shape == (300, N_WORDS)
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(300))
    # Who takes a softmax of them gets the same again.
    torch.testing.assert_close(log_probs.log_softmax(1), log_probs)
    loss = adaptive_softmax_loss(hidden, targets, weight, bias, clusters)
    torch.testing.assert_close(-log_probs.gather(1, targets[:, None]).sum(), loss)


def test_a_batch_without_rare_words_has_a_loss():
    hidden, _, weight, bias, clusters = inputs([4, 7])
    targets = torch.zeros(300, dtype=torch.long)
    loss = adaptive_softmax_loss(hidden, targets, weight, bias, clusters)
    assert torch.isfinite(torch.autograd.grad(loss, weight)[0]).all()
    assert torch.isfinite(loss)


@pytest.mark.parametrize("cutoffs", [[0], [12], [13], [5, 5], [7, 3], [-1, 4]])
def test_cutoffs_that_leave_no_words_are_refused(cutoffs):
    with pytest.raises(ValueError, match="softmax_cutoffs = .*12 words"):
        Clusters(WIDTH, N_WORDS, cutoffs)


MODELS = {
    "biLM": tiny_bilm,
    "tied biLM": partial(
        tiny_bilm, filters=(), word_dim=5, n_input_words=11, tie_softmax=True
    ),
    "AWD-LSTM, always tied": tiny_awd_lstm,
}


@pytest.mark.parametrize("model", sorted(MODELS))
def test_models_learn_their_words_through_the_clusters(model):
    plain = MODELS[model]()
    module = MODELS[model](softmax_cutoffs=(3, 6))
    # Nothing but the clusters' own vectors is new.
    new = set(module.state_dict()) - set(plain.state_dict())
    assert {name.split(".")[-2] for name in new} == {"clusters"} and len(new) == 2
    softmax = module.softmax
    hidden = torch.randn(7, softmax.weight.shape[1])
    targets = torch.arange(7)
    torch.testing.assert_close(softmax.logits(hidden).exp().sum(1), torch.ones(7))
    softmax.loss(hidden, targets).backward()
    learnt = {name for name, p in module.named_parameters() if p.grad is not None}
    assert new < learnt and len(learnt) == 4


def test_an_awd_lstm_predicts_log_probabilities():
    module = tiny_awd_lstm(softmax_cutoffs=(3, 6))
    log_probs, _, _ = module(torch.tensor([[2, 3, 4]]))
    torch.testing.assert_close(log_probs.exp().sum(2), torch.ones(1, 3))
