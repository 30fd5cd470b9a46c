import numpy
import pytest
import torch
from numpy.testing import assert_allclose

from spacy_elmo_ulmfit.pipeline.label_losses import exclusive_loss, multilabel_loss

N_DOCS, N_LABELS = 5, 4
WEIGHTS = numpy.array([0.5, 1.0, 2.0, 3.0], dtype="f")


@pytest.fixture
def logits():
    torch.manual_seed(0)
    return torch.randn(N_DOCS, N_LABELS, requires_grad=True)


def numbers(logits, function):
    return function(logits.detach()).numpy()


@pytest.mark.parametrize("weights", [numpy.ones_like(WEIGHTS), WEIGHTS])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_exclusive_labels_have_the_loss_of_torch(logits, weights, smoothing):
    labels = torch.tensor([0, 2, 3, 1, 2])
    expected = torch.nn.functional.cross_entropy(
        logits, labels, weight=torch.from_numpy(weights), label_smoothing=smoothing
    )
    expected.backward()
    scores = numbers(logits, lambda x: x.softmax(1))
    truths = numpy.eye(N_LABELS, dtype="f")[labels]
    loss, gradient = exclusive_loss(numpy, scores, truths, weights, smoothing)
    assert loss == pytest.approx(expected.item(), rel=1e-5)
    assert gradient.dtype == "float32"
    assert_allclose(gradient / N_DOCS, logits.grad, atol=1e-6)


def test_a_document_without_a_label_takes_no_part(logits):
    scores = numbers(logits, lambda x: x.softmax(1))
    truths = numpy.eye(N_LABELS, dtype="f")[[0, 1, 2, 3, 0]]
    truths[1] = 0.0
    loss, gradient = exclusive_loss(numpy, scores, truths, WEIGHTS, 0.1)
    rest = [0, 2, 3, 4]
    alone, d_alone = exclusive_loss(numpy, scores[rest], truths[rest], WEIGHTS, 0.1)
    assert loss == pytest.approx(alone)
    assert_allclose(gradient[rest] / N_DOCS, d_alone / 4, atol=1e-7)
    assert not gradient[1].any()
    nothing, gradient = exclusive_loss(numpy, scores, truths * 0, WEIGHTS, 0.1)
    assert nothing == 0.0 and not gradient.any()


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_several_labels_have_the_loss_of_torch(logits, smoothing):
    torch.manual_seed(1)
    truths = torch.randint(2, (N_DOCS, N_LABELS)).float()
    smoothed = truths * (1 - smoothing) + smoothing / 2
    expected = torch.nn.functional.binary_cross_entropy_with_logits(
        logits, smoothed, pos_weight=torch.from_numpy(WEIGHTS), reduction="sum"
    )
    (expected / N_DOCS).backward()
    scores = numbers(logits, torch.sigmoid)
    known = numpy.ones_like(scores)
    loss, gradient = multilabel_loss(
        numpy, scores, truths.numpy(), known, WEIGHTS, smoothing
    )
    assert loss == pytest.approx(expected.item() / N_DOCS, rel=1e-5)
    assert_allclose(gradient / N_DOCS, logits.grad, atol=1e-6)


def test_a_missing_label_takes_no_part(logits):
    scores = numbers(logits, torch.sigmoid)
    truths, known = numpy.zeros_like(scores), numpy.ones_like(scores)
    known[:, 2] = 0.0
    loss, gradient = multilabel_loss(numpy, scores, truths, known, WEIGHTS, 0.1)
    rest = [0, 1, 3]
    alone, d_alone = multilabel_loss(
        numpy, scores[:, rest], truths[:, rest], known[:, rest], WEIGHTS[rest], 0.1
    )
    assert loss == pytest.approx(alone)
    assert_allclose(gradient[:, rest], d_alone)
    assert not gradient[:, 2].any()


def test_certain_scores_have_a_finite_loss():
    scores = numpy.array([[0.0, 1.0]], dtype="f")
    truths = numpy.array([[1.0, 0.0]], dtype="f")
    ones = numpy.ones(2, dtype="f")
    known = numpy.ones_like(scores)
    assert numpy.isfinite(exclusive_loss(numpy, scores, truths, ones, 0.0)[0])
    assert numpy.isfinite(multilabel_loss(numpy, scores, truths, known, ones, 0.0)[0])
