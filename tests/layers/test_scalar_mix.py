import numpy
import pytest
from thinc.api import Adam

from spacy_elmo_ulmfit.layers.scalar_mix import build_scalar_mix, mix_weights


def documents(lengths=(3, 0, 2)):
    generator = numpy.random.default_rng(0)
    return [generator.normal(size=(3, n, 4)).astype("f") for n in lengths]


def test_each_document_gets_its_own_rows_even_an_empty_one():
    layers = documents()
    mixed = build_scalar_mix(3).predict(layers)
    for one, found in zip(layers, mixed, strict=True):
        numpy.testing.assert_allclose(found, one.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_gradient_of_the_layers_is_their_share_of_the_gradient():
    model, layers = build_scalar_mix(3, dropout=0.0), documents()
    mixed, backprop = model.begin_update(layers)
    d_layers = backprop([numpy.ones_like(rows) for rows in mixed])
    for one, gradient in zip(layers, d_layers, strict=True):
        assert gradient.shape == one.shape
        numpy.testing.assert_allclose(gradient, 1 / 3, rtol=1e-5)


def test_dropout_acts_in_training_only():
    model, layers = build_scalar_mix(3, dropout=0.5), [numpy.ones((3, 50, 4), "f")]
    assert not (model.predict(layers)[0] == 0).any()
    mixed, _ = model.begin_update(layers)
    assert (mixed[0] == 0).any()
    assert not (model.predict(layers)[0] == 0).any()


def test_learns_which_layer_is_wanted():
    model, layers = build_scalar_mix(3, dropout=0.0), documents([20])
    optimizer = Adam(0.1, L2=0.0)
    for _ in range(60):
        mixed, backprop = model.begin_update(layers)
        backprop([mixed[0] - 2.0 * layers[0][1]])
        model.finish_update(optimizer)
    shares, gamma = mix_weights(model)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[1] == max(shares) > 0.9
    assert gamma == pytest.approx(2.0, abs=0.2)


def test_bytes_keep_what_was_learnt():
    model = build_scalar_mix(3)
    model.shims[0].module.weights.data.fill_(0.0)
    model.shims[0].module.weights.data[2] = 4.0
    again = build_scalar_mix(3).from_bytes(model.to_bytes())
    assert mix_weights(again) == mix_weights(model)


def test_a_copy_learns_on_its_own():
    model, layers = build_scalar_mix(3, dropout=0.0), documents([4])
    copied, optimizer = model.copy(), Adam(0.1)
    mixed, backprop = copied.begin_update(layers)
    backprop(mixed)
    copied.finish_update(optimizer)
    assert mix_weights(copied)[1] != 1.0
    assert mix_weights(model)[1] == 1.0
