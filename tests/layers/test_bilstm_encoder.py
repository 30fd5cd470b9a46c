import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import Adam

from spacy_elmo_ulmfit.layers.bilstm_encoder import build_bilstm_encoder

from ..pipeline.util import load, tagged, tagger, train

TEXT = "Anna lives in Rome ."


def vectors(*lengths, width=3):
    generator = numpy.random.default_rng(0)
    return [generator.normal(size=(n, width)).astype("f") for n in lengths]


def encoder(width=4, inputs=3, **settings):
    torch.manual_seed(0)
    return build_bilstm_encoder(width, **settings).initialize(
        X=vectors(2, width=inputs)
    )


def parameters(model):
    return {
        name: p.detach().clone() for name, p in model.shims[0].module.named_parameters()
    }


def tok2vec(embed_width=6):
    return {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": embed_width,
            "attrs": ["NORM", "SHAPE"],
            "rows": [50, 50],
            "include_static_vectors": False,
        },
        "encode": {
            "@architectures": "spacy-elmo-ulmfit.BiLSTMEncoder.v1",
            "width": 10,
        },
    }


def test_a_tagger_with_it_trains_and_is_loaded_without_initialization(tmp_path):
    nlp = load({"tagger": tagger(tok2vec())})
    nlp.initialize(lambda: tagged(nlp))
    losses = train(nlp, 20, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"] / 2
    expected = nlp.get_pipe("tagger").model.predict([nlp.make_doc(TEXT)])
    nlp.to_disk(tmp_path)
    from_bytes = load({"tagger": tagger(tok2vec())}).from_bytes(nlp.to_bytes())
    for other in (spacy.load(tmp_path), from_bytes):
        scores = other.get_pipe("tagger").model.predict([other.make_doc(TEXT)])
        assert_array_equal(scores[0], expected[0])


def test_a_pipeline_that_was_never_initialized_can_be_saved(tmp_path):
    load({"tagger": tagger(tok2vec())}).to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    with pytest.raises(ValueError, match="call nlp.initialize"):
        nlp.get_pipe("tagger").model.get_ref("tok2vec").get_ref("encode").predict(
            vectors(2)
        )


def test_weights_that_were_loaded_go_on_learning(tmp_path):
    nlp = load({"tagger": tagger(tok2vec())})
    nlp.initialize(lambda: tagged(nlp))
    nlp.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    losses = train(nlp, 20, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"] / 2


@pytest.mark.parametrize("inputs", [1, 3, 7])
def test_the_input_may_have_any_width(inputs):
    model = encoder(4, inputs)
    shapes = [rows.shape for rows in model.predict(vectors(2, 5, width=inputs))]
    assert shapes == [(2, 4), (5, 4)]
    assert (model.get_dim("nI"), model.get_dim("nO")) == (inputs, 4)


@pytest.mark.parametrize("depth", [1, 2])
def test_documents_are_encoded_as_by_torch_one_by_one(depth):
    model, inputs = encoder(depth=depth), vectors(3, 1, 0, 6)
    module = model.shims[0].module.eval()
    for rows, encoded in zip(inputs, model.predict(inputs)):
        expected = numpy.zeros((0, 4))
        if len(rows):
            expected = module(torch.from_numpy(rows))[0].detach().numpy()
        assert_allclose(encoded, expected, atol=1e-6)


def test_prediction_depends_neither_on_the_batch_nor_on_the_call():
    model, inputs = encoder(dropout=0.5), vectors(4, 9, 0, 1, 2)
    together = model.predict(inputs)
    assert_array_equal(together[0], model.predict(inputs)[0])
    for rows, encoded in zip(inputs, together):
        assert_allclose(model.predict([rows])[0], encoded, atol=1e-6)
    for encoded, again in zip(together, model.predict(inputs[::-1])[::-1]):
        assert_allclose(again, encoded, atol=1e-6)


@pytest.mark.parametrize("lengths", [[], [0], [0, 0]])
def test_a_batch_without_tokens_gives_no_rows_and_no_gradient(lengths):
    model, inputs = encoder(), vectors(*lengths)
    before = parameters(model)
    encoded, backprop = model.begin_update(inputs)
    assert [rows.shape for rows in encoded] == [(0, 4)] * len(lengths)
    assert [rows.shape for rows in backprop(encoded)] == [(0, 3)] * len(lengths)
    model.finish_update(Adam(0.1))
    for name, value in parameters(model).items():
        assert torch.equal(value, before[name])


def test_gradients_are_those_of_torch():
    model, inputs = encoder(dropout=0.0), vectors(3, 0, 5)
    encoded, backprop = model.begin_update(inputs)
    gradients = backprop([numpy.cos(rows) for rows in encoded])
    found = {n: p.grad for n, p in model.shims[0].module.named_parameters()}
    module = encoder(dropout=0.0).shims[0].module
    for rows, gradient in zip(inputs, gradients):
        assert gradient.shape == rows.shape
        if len(rows):
            tensor = torch.from_numpy(rows).requires_grad_()
            output = module(tensor)[0]
            output.backward(output.detach().cos())
            assert_allclose(gradient, tensor.grad, atol=1e-5)
    for name, parameter in module.named_parameters():
        assert_allclose(found[name], parameter.grad, atol=1e-5)


def test_dropout_is_between_layers_and_in_training_only():
    inputs = vectors(6)
    for depth, changes in ((1, False), (3, True)):
        model = encoder(depth=depth, dropout=0.5)
        trained = model.begin_update(inputs)[0][0]
        assert numpy.allclose(trained, model.predict(inputs)[0]) is not changes


@pytest.mark.parametrize(
    "settings, message",
    [({"width": 5}, "even width.*width = 5"), ({"width": 4, "depth": 0}, "not 0")],
)
def test_sizes_that_make_no_encoder_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build_bilstm_encoder(**settings)
