import pytest
import torch

from spacy_elmo_ulmfit.modules import ScalarMix


def test_starts_as_the_mean_of_the_layers():
    layers = torch.randn(3, 4, 5)
    torch.testing.assert_close(ScalarMix(3)(layers), layers.mean(0))


def test_is_gamma_times_the_softmax_weighted_sum():
    mix, layers = ScalarMix(3), torch.randn(3, 4, 5)
    with torch.no_grad():
        mix.weights.copy_(torch.tensor([0.3, -1.0, 2.0]))
        mix.gamma.fill_(1.7)
    exponentials = mix.weights.exp()
    expected = torch.zeros(4, 5)
    for share, layer in zip(exponentials / exponentials.sum(), layers):
        expected = expected + 1.7 * share * layer
    torch.testing.assert_close(mix(layers), expected)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_in_training_only(training):
    mix = ScalarMix(2, dropout=0.5).train(training)
    assert bool((mix(torch.ones(2, 10, 10)) == 0).any()) is training


def test_weights_and_gamma_learn():
    mix = ScalarMix(2)
    mix(torch.stack([torch.ones(3, 2), torch.zeros(3, 2)])).sum().backward()
    assert mix.weights.grad[0] > 0 > mix.weights.grad[1]
    assert float(mix.gamma.grad) == pytest.approx(3.0)
