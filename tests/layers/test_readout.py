import numpy
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import SGD

from spacy_elmo_ulmfit.layers.readout import build_readout, read_out, readout_width
from spacy_elmo_ulmfit.layers.scalar_mix import build_scalar_mix

from ..util import make_doc

DOCS = [make_doc(["a", "b", "c"]), make_doc([]), make_doc(["d"])]
N_BOUNDARIES = [4, 0, 2]
WIDTH = 4


def rows(boundaries=True):
    """Layers of the documents: tokens, then sentence boundaries of another scale."""
    generator = numpy.random.default_rng(0)
    layers = []
    for doc, n in zip(DOCS, N_BOUNDARIES):
        tokens = generator.normal(size=(3, len(doc), WIDTH))
        ends = generator.normal(3.0, 2.0, size=(3, n, WIDTH))
        joined = numpy.concatenate([tokens, ends], axis=1) if boundaries else tokens
        layers.append(joined.astype("f"))
    return layers


def build(projection=None, **settings):
    readout = build_readout(build_scalar_mix(3, 0.0, **settings), WIDTH, projection)
    for layer in readout:
        layer.initialize()
    return readout


def matrix():
    return torch.from_numpy(
        numpy.random.default_rng(1).normal(size=(WIDTH, WIDTH)).astype("f")
    )


@pytest.mark.parametrize("norm", ["none", "token", "bilm-tf", "allennlp"])
def test_there_is_a_row_per_token_and_none_for_boundaries(norm):
    vectors, _ = read_out(build(layer_norm=norm), DOCS, rows(), None, False)
    assert [v.shape for v in vectors] == [(len(doc), WIDTH) for doc in DOCS]


@pytest.mark.parametrize("norm", ["none", "token", "bilm-tf", "allennlp"])
def test_only_allennlps_norm_reads_boundaries(norm):
    readout = build(layer_norm=norm)
    found, _ = read_out(readout, DOCS, rows(), None, False)
    without, _ = read_out(readout, DOCS, rows(boundaries=False), None, False)
    same = numpy.allclose(found[0], without[0], atol=1e-5)
    assert same is (norm != "allennlp")


def test_allennlps_statistics_are_of_tokens_and_boundaries():
    vectors, _ = read_out(build(layer_norm="allennlp"), DOCS, rows(), None, False)
    joined = numpy.concatenate(rows(), axis=1)
    mean, deviation = joined.mean(axis=(1, 2)), joined.std(axis=(1, 2))
    normalized = [(rows()[0][i] - mean[i]) / deviation[i] for i in range(3)]
    assert_allclose(vectors[0], numpy.mean(normalized, axis=0)[:3], atol=1e-5)


@pytest.mark.parametrize("norm", ["none", "bilm-tf", "allennlp"])
def test_boundaries_get_a_gradient_where_they_are_read(norm):
    vectors, backprop = read_out(build(layer_norm=norm), DOCS, rows(), None, True)
    generator = numpy.random.default_rng(2)
    gradients = backprop([generator.normal(size=v.shape).astype("f") for v in vectors])
    assert [g.shape for g in gradients] == [layers.shape for layers in rows()]
    assert gradients[0][:, :3].any()
    assert bool(gradients[0][:, 3:].any()) is (norm == "allennlp")


def test_vectors_are_aligned_after_the_mix():
    plain, _ = read_out(build(), DOCS, rows(), None, False)
    aligned, _ = read_out(build(), DOCS, rows(), matrix(), False)
    for one, other in zip(plain, aligned, strict=True):
        assert_allclose(other, one @ matrix().numpy().T, atol=1e-5)


def test_a_projection_is_a_linear_layer_with_a_bias_after_the_alignment():
    readout = build(projection=2)
    linear = readout[1].layers[0]
    linear.set_param("b", numpy.array([0.5, -1.0], dtype="f"))
    aligned, _ = read_out(readout[:1], DOCS, rows(), matrix(), False)
    projected, _ = read_out(readout, DOCS, rows(), matrix(), False)
    for one, other in zip(aligned, projected, strict=True):
        expected = one @ linear.get_param("W").T + linear.get_param("b")
        assert_allclose(other, expected, atol=1e-5)


@pytest.mark.parametrize(
    "settings, projection, width",
    [({}, None, 4), ({"layers": "concat"}, None, 12), ({"layers": "concat"}, 5, 5)],
)
def test_width_is_that_of_what_comes_out(settings, projection, width):
    readout = build(projection, **settings)
    vectors, _ = read_out(readout, DOCS, rows(), None, False)
    assert readout_width(readout, WIDTH) == width
    assert [v.shape for v in vectors] == [(len(doc), width) for doc in DOCS]


@pytest.mark.parametrize("norm", ["none", "allennlp"])
def test_gradients_are_those_of_finite_differences(norm):
    readout, layers = build(projection=3, layer_norm=norm), rows()
    vectors, backprop = read_out(readout, DOCS, layers, matrix(), True)
    generator = numpy.random.default_rng(2)
    weights = [generator.normal(size=v.shape).astype("f") for v in vectors]
    gradients = backprop(weights)

    def loss(layers):
        vectors, _ = read_out(readout, DOCS, layers, matrix(), False)
        return sum(float((v * w).sum()) for v, w in zip(vectors, weights))

    for document, *index in [(0, 1, 1, 2), (0, 2, 5, 0), (2, 0, 0, 3), (2, 1, 2, 1)]:
        sides = []
        for step in (0.01, -0.01):
            moved = [one.copy() for one in layers]
            moved[document][tuple(index)] += step
            sides.append(loss(moved))
        expected = (sides[0] - sides[1]) / 0.02
        assert gradients[document][tuple(index)] == pytest.approx(expected, abs=5e-3)


def test_the_projection_learns_and_the_alignment_does_not():
    readout, alignment = build(projection=2), matrix().requires_grad_()
    before = readout[1].layers[0].get_param("W").copy()
    vectors, backprop = read_out(readout, DOCS, rows(), alignment, True)
    backprop(vectors)
    readout[1].finish_update(SGD(0.1))
    assert (readout[1].layers[0].get_param("W") != before).any()
    assert_array_equal(alignment.detach(), matrix())
    assert alignment.grad is None


def test_layers_side_by_side_cannot_be_aligned():
    with pytest.raises(ValueError, match='"concat".*alignment matrix'):
        read_out(build(layers="concat"), DOCS, rows(), matrix(), False)
