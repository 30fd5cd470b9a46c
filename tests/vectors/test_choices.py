import numpy
import pytest
from numpy.testing import assert_allclose

from spacy_elmo_ulmfit.vectors.choices import LayerChoice

LAYERS = numpy.random.default_rng(0).normal(size=(3, 4, 5)).astype("f")


@pytest.mark.parametrize(
    "choice, expected",
    [
        (LayerChoice("all"), LAYERS),
        (LayerChoice("top"), LAYERS[2]),
        (LayerChoice("average"), LAYERS.mean(axis=0)),
        (LayerChoice("layer:0"), LAYERS[0]),
        (LayerChoice("layer:1"), LAYERS[1]),
        (LayerChoice("concat"), numpy.hstack(LAYERS)),
        (LayerChoice("mix", (0.5, 0.0, -2.0), 3.0), 1.5 * LAYERS[0] - 6.0 * LAYERS[2]),
    ],
    ids=lambda value: value.name if isinstance(value, LayerChoice) else "",
)
def test_choices(choice, expected):
    chosen = choice(LAYERS)
    assert_allclose(chosen, expected, rtol=1e-5, atol=1e-6)
    assert chosen.dtype == numpy.float32
    assert choice(LAYERS[:, :0]).shape == (*expected.shape[:-2], 0, expected.shape[-1])


@pytest.mark.parametrize("name", ["", "mean", "layer", "layer:", "layer:-1", "layer:x"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is not a choice of layers"):
        LayerChoice(name)


def test_only_a_mix_takes_weights_and_needs_them():
    for name, weights in [("mix", ()), ("top", (1.0, 0.0, 0.0))]:
        with pytest.raises(ValueError, match="needs a weight for each layer"):
            LayerChoice(name, weights)


def test_what_the_model_has_not_is_refused():
    with pytest.raises(ValueError, match="layer:0 to layer:2"):
        LayerChoice("layer:3").check(3)
    with pytest.raises(ValueError, match="needs 3 weights, not 2"):
        LayerChoice("mix", (0.5, 0.5)).check(3)
