import numpy
import pytest
from thinc.api import SGD, Adam

from spacy_elmo_ulmfit.layers.scalar_mix import (
    build_scalar_mix,
    learns_shares,
    mix_weights,
)


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


@pytest.mark.parametrize("choice, shares", [("top", [0, 0, 1]), ("layer:0", [1, 0, 0])])
def test_a_layer_alone_has_the_whole_share(choice, shares):
    model, layers = build_scalar_mix(3, dropout=0.0, layers=choice), documents()
    for one, found in zip(layers, model.predict(layers), strict=True):
        numpy.testing.assert_array_equal(found, one[shares.index(1)])
    assert mix_weights(model) == (shares, 1.0)
    assert not learns_shares(model) and learns_shares(build_scalar_mix(3))


def test_layers_side_by_side_have_no_shares():
    model, layers = build_scalar_mix(3, layers="concat"), documents()
    for one, found in zip(layers, model.predict(layers), strict=True):
        numpy.testing.assert_array_equal(found, numpy.concatenate(one, axis=1))
    with pytest.raises(ValueError, match="concat.*no share"):
        mix_weights(model)


@pytest.mark.parametrize("norm", ["none", "allennlp", "token"])
def test_gradients_of_the_layers_are_those_of_finite_differences(norm):
    settings = {"initial_weights": [0.5, 0.0, -1.0], "initial_gamma": 1.5}
    model = build_scalar_mix(3, dropout=0.0, layer_norm=norm, **settings)
    layers = documents((2, 3))
    weights = documents((2, 3))
    mixed, backprop = model.begin_update(layers)
    gradients = backprop([rows[0] for rows in weights])

    def loss(layers):
        mixed = model.predict(layers)
        return sum(float((m * w[0]).sum()) for m, w in zip(mixed, weights))

    for place in [(0, 1, 1, 2), (1, 2, 0, 0), (1, 0, 2, 3)]:
        document, *index = place
        sides = []
        for step in (0.01, -0.01):
            moved = [one.copy() for one in layers]
            moved[document][tuple(index)] += step
            sides.append(loss(moved))
        expected = (sides[0] - sides[1]) / 0.02
        assert gradients[document][tuple(index)] == pytest.approx(expected, abs=5e-3)


def test_fixed_weights_move_by_nothing_at_all():
    start = [-9e10, 1.0, -9e10]
    model = build_scalar_mix(3, 0.0, initial_weights=start, train_weights=False)
    module, optimizer = model.shims[0].module, Adam(0.1, L2=0.1)
    for _ in range(3):
        mixed, backprop = model.begin_update(documents())
        backprop(mixed)
        model.finish_update(optimizer)
    assert module.weights.tolist() == pytest.approx(start)
    assert mix_weights(model)[0] == [0.0, 1.0, 0.0]
    assert mix_weights(model)[1] != 1.0


@pytest.mark.parametrize("n_batches", [1, 3])
def test_l2_is_added_once_per_update_and_not_to_gamma(n_batches):
    start, l2, rate = [1.0, -2.0, 0.5], 0.3, 0.1
    moved = []
    for penalty in (l2, 0.0):
        model = build_scalar_mix(3, 0.0, initial_weights=start, l2=penalty)
        for _ in range(n_batches):
            mixed, backprop = model.begin_update(documents())
            backprop(mixed)
        model.finish_update(SGD(rate, grad_clip=0.0))
        module = model.shims[0].module
        moved.append((module.weights.detach().numpy(), module.gamma.item()))
    difference = moved[0][0] - moved[1][0]
    expected = -rate * 2 * l2 * numpy.array(start)
    numpy.testing.assert_allclose(difference, expected, rtol=1e-3)
    assert moved[0][1] == moved[1][1]


def test_a_copy_keeps_the_settings():
    model = build_scalar_mix(3, 0.0, l2=0.5, train_gamma=False, layer_norm="token")
    copied = model.copy()
    assert copied.shims[0].l2 == 0.5
    assert not copied.shims[0].module.gamma.requires_grad
    layers = documents()
    for one, other in zip(model.predict(layers), copied.predict(layers), strict=True):
        numpy.testing.assert_array_equal(one, other)


def test_bytes_of_before_there_were_choices_are_read():
    model = build_scalar_mix(3)
    old = model.to_dict()
    for name in ("layers", "reads_boundaries"):
        del old["attrs"][0][name]
    model.shims[0].module.gamma.data.fill_(2.0)
    again = model.from_dict(old)
    assert mix_weights(again)[1] == 1.0
    assert learns_shares(again)
