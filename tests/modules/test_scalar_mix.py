import numpy
import pytest
import torch
from numpy.testing import assert_allclose

from spacy_elmo_ulmfit.modules import ScalarMix

CHOICES = ["mix", "top", "average", "layer:0", "layer:1", "concat"]
NORMS = ["none", "allennlp", "bilm-tf", "token"]


def random_layers(n_tokens=6, masked=()):
    """Layers of different scale and mean, as a language model's are."""
    generator = numpy.random.default_rng(0)
    layers = generator.normal(size=(3, n_tokens, 4))
    layers = layers * numpy.array([1.0, 5.0, 0.2]).reshape(3, 1, 1) + 0.7
    layers[:, list(masked)] = 0.0
    return layers.astype("f")


def numpy_norm(layers, kind, masked):
    """Normalize layer by layer, from the definitions."""
    tokens = [i for i in range(layers.shape[1]) if i not in masked]
    result = numpy.zeros(layers.shape)
    for number, layer in enumerate(layers.astype("d")):
        if kind == "none":
            result[number] = layer
        elif kind == "token":
            for i in tokens:
                centred = layer[i] - layer[i].mean()
                result[number, i] = centred / numpy.sqrt((centred**2).mean() + 1e-5)
        else:
            eps = {"allennlp": 1e-13, "bilm-tf": 1e-12}[kind]
            values = layer[tokens]
            deviation = numpy.sqrt(((values - values.mean()) ** 2).mean() + eps)
            result[number, tokens] = (values - values.mean()) / deviation
    return result


def numpy_mix(layers, choice, weights, gamma):
    if choice == "mix":
        powers = [numpy.exp(weight) for weight in weights]
        return gamma * sum(p / sum(powers) * h for p, h in zip(powers, layers))
    if choice == "average":
        return gamma * (layers[0] + layers[1] + layers[2]) / 3
    if choice == "concat":
        return gamma * numpy.hstack([layers[0], layers[1], layers[2]])
    return gamma * layers[{"top": 2, "layer:0": 0, "layer:1": 1}[choice]]


def test_starts_as_the_mean_of_the_layers():
    layers = torch.randn(3, 4, 5)
    torch.testing.assert_close(ScalarMix(3)(layers), layers.mean(0))


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("choice", CHOICES)
def test_numbers_are_those_of_the_formulas(choice, norm):
    weights = [0.3, -1.0, 2.0]
    mix = ScalarMix(
        3,
        layers=choice,
        layer_norm=norm,
        initial_weights=weights if choice == "mix" else None,
        initial_gamma=1.7,
    )
    layers = random_layers(masked=[1, 4])
    found = mix(torch.from_numpy(layers)).detach()
    normalized = numpy_norm(layers, norm, masked=[1, 4])
    assert_allclose(found, numpy_mix(normalized, choice, weights, 1.7), atol=2e-5)
    assert not found[[1, 4]].any()


@pytest.mark.parametrize("norm", ["allennlp", "bilm-tf"])
def test_equals_the_old_tools_formula_where_nothing_is_masked(norm):
    layers = torch.from_numpy(random_layers())
    found = ScalarMix(3, layers="layer:1", layer_norm=norm)(layers).detach()
    expected = torch.nn.functional.layer_norm(layers[1], layers[1].shape, eps=1e-12)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "norm, depends",
    [("none", False), ("token", False), ("allennlp", True), ("bilm-tf", True)],
)
def test_only_the_batch_norms_depend_on_the_batch(norm, depends):
    mix = ScalarMix(3, layer_norm=norm).eval()
    layers = torch.from_numpy(random_layers())
    alone, together = mix(layers[:, :2]), mix(layers)[:2]
    assert torch.allclose(alone, together, atol=1e-5) is not depends


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("n_tokens, masked", [(0, []), (1, []), (2, [0, 1])])
def test_few_tokens_give_numbers_and_gradients(norm, n_tokens, masked):
    layers = torch.from_numpy(random_layers(n_tokens, masked)).requires_grad_()
    mixed = ScalarMix(3, layer_norm=norm)(layers)
    mixed.sum().backward()
    assert mixed.shape == (n_tokens, 4)
    assert torch.isfinite(mixed).all() and torch.isfinite(layers.grad).all()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("choice", CHOICES)
def test_gradients_are_those_of_finite_differences(choice, norm):
    mix = ScalarMix(3, layers=choice, layer_norm=norm, initial_gamma=0.8).double()
    layers = torch.from_numpy(random_layers(masked=[2])).double()
    tokens = [0, 1, 3, 4, 5]

    def mixed(values, *parameters):
        # A masked row stays one: no difference is tried on it.
        full = torch.zeros_like(layers).index_copy(1, torch.tensor(tokens), values)
        names = [name for name, _ in mix.named_parameters()]
        return torch.func.functional_call(mix, dict(zip(names, parameters)), full)

    inputs = [layers[:, tokens], *(p.detach() for p in mix.parameters())]
    assert torch.autograd.gradcheck(mixed, [x.requires_grad_() for x in inputs])


@pytest.mark.parametrize("training", [True, False])
def test_dropout_acts_in_training_only(training):
    mix = ScalarMix(2, dropout=0.5).train(training)
    assert bool((mix(torch.ones(2, 10, 10)) == 0).any()) is training


def test_weights_and_gamma_learn():
    mix = ScalarMix(2)
    mix(torch.stack([torch.ones(3, 2), torch.zeros(3, 2)])).sum().backward()
    assert mix.weights.grad[0] > 0 > mix.weights.grad[1]
    assert float(mix.gamma.grad) == pytest.approx(3.0)


def test_weights_of_any_scale_select_one_layer():
    layers = torch.randn(3, 4, 5)
    mix = ScalarMix(3, initial_weights=[-9e10, 1, -9e10], train_weights=False)
    torch.testing.assert_close(mix(layers), layers[1])


@pytest.mark.parametrize("weights, gamma", [(True, False), (False, True)])
def test_what_is_fixed_gets_no_gradient(weights, gamma):
    mix = ScalarMix(2, train_weights=weights, train_gamma=gamma)
    mix(torch.randn(2, 3, 4)).sum().backward()
    assert (mix.weights.grad is not None) is weights
    assert (mix.gamma.grad is not None) is gamma


@pytest.mark.parametrize("layers", ["topmost", "layer:3", "layer:-1", "layer:", "2"])
def test_an_unknown_choice_of_layers_names_the_choices(layers):
    with pytest.raises(ValueError, match=f"layers = '{layers}'.*top.*k from 0 to 2"):
        ScalarMix(3, layers=layers)


def test_an_unknown_layer_norm_names_the_choices():
    with pytest.raises(ValueError, match="layer_norm = 'batch'.*allennlp.*token"):
        ScalarMix(3, layer_norm="batch")


def test_initial_weights_must_fit():
    with pytest.raises(ValueError, match="initial_weights.*got 2 for n_layers = 3"):
        ScalarMix(3, initial_weights=[0.0, 1.0])
    with pytest.raises(ValueError, match='initial_weights.*layers = "top" has no'):
        ScalarMix(3, layers="top", initial_weights=[0.0, 1.0, 0.0])
