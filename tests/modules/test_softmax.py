import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from spacy_elmo_ulmfit.modules.softmax import softmax_loss


def inputs(n_rows, bias=True, width=6, n_words=9):
    torch.manual_seed(n_rows)
    hidden = torch.randn(n_rows, width, requires_grad=True)
    weight = torch.randn(n_words, width, requires_grad=True)
    offset = torch.randn(n_words, requires_grad=True) if bias else None
    return hidden, torch.randint(n_words, (n_rows,)), weight, offset


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("n_rows", [1, 511, 512, 513, 1200])
def test_value_and_gradients_are_those_of_cross_entropy(n_rows, bias):
    hidden, targets, weight, offset = inputs(n_rows, bias)
    leaves = [hidden, weight] + ([offset] if bias else [])
    found = softmax_loss(hidden, targets, weight, offset)
    wanted = F.cross_entropy(F.linear(hidden, weight, offset), targets, reduction="sum")
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    # The factor is what the mean over targets makes of the sum.
    for one, other in zip(
        torch.autograd.grad(found * 0.3, leaves),
        torch.autograd.grad(wanted * 0.3, leaves),
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)


def test_huge_logits_do_not_overflow():
    hidden, targets, weight, offset = inputs(4)
    loss = softmax_loss(hidden * 1e4, targets, weight, offset)
    assert torch.isfinite(loss)
    assert torch.isfinite(torch.autograd.grad(loss, weight)[0]).all()


def test_no_rows_have_no_loss():
    hidden, targets, weight, offset = inputs(3)
    loss = softmax_loss(hidden[:0], targets[:0], weight, offset)
    assert loss.item() == 0.0
    assert not torch.autograd.grad(loss, weight)[0].any()


def test_bfloat16_products_are_near_those_of_float32():
    hidden, targets, weight, offset = inputs(700)
    exact = softmax_loss(hidden, targets, weight, offset)
    half = softmax_loss(hidden, targets, weight, offset, dtype=torch.bfloat16)
    torch.testing.assert_close(half, exact, rtol=0.02, atol=0.0)
    gradient = torch.autograd.grad(half, weight)[0]
    assert gradient.dtype == torch.float32
    expected = torch.autograd.grad(exact, weight)[0]
    assert F.cosine_similarity(gradient, expected, dim=1).min() > 0.999


def test_frozen_hidden_vectors_still_train_the_softmax():
    hidden, targets, weight, offset = inputs(5)
    softmax_loss(hidden.detach(), targets, weight, offset).backward()
    assert hidden.grad is None and weight.grad.any() and offset.grad.any()


def test_evaluation_computes_no_gradients():
    hidden, targets, weight, offset = inputs(100)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        softmax_loss(hidden, targets, weight, offset)
    assert counter.get_total_flops() == 2 * hidden.shape[0] * weight.numel()
