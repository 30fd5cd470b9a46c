import numpy
import pytest
import torch

from spacy_elmo_ulmfit.layers.awd_lstm import build_awd_lstm_model
from spacy_elmo_ulmfit.text import Vocabulary
from spacy_elmo_ulmfit.text.special_words import SPECIALS

from ..util import make_doc

WORDS = [*SPECIALS, "no", "way", "so", "4", "3"]
DOCUMENTS = [["so", "No", " ", "WAY"], [], ["no"], ["\n"], ["way", "nooooo", "so"]]


@pytest.fixture(params=["lstm", "qrnn"])
def model(request):
    torch.manual_seed(0)
    model = build_awd_lstm_model(
        embedding_dim=4,
        hidden_dim=6,
        n_layers=2,
        rnn=request.param,
        bptt=3,
        batch_size=2,
    )
    vocabulary = Vocabulary(WORDS, [1] * len(WORDS), unknown="xxunk")
    model.shims[0].create_tokenizer("en")
    model.shims[0].create(vocabulary, n_words=len(WORDS))
    return model


def test_a_token_has_the_vectors_of_the_last_of_its_pieces(model):
    docs = [make_doc(words) for words in DOCUMENTS]
    shim = model.shims[0]
    for doc, found in zip(docs, model.predict(docs), strict=True):
        assert found.shape == (2, len(doc), 4)
        tokens = shim.read(doc)
        ids = torch.tensor([shim.vocabulary.ids(tokens.words)])
        read = shim.module.eval().encode(ids)
        for token in doc:
            if token.is_space:
                assert not found[:, token.i].any()
                continue
            last = max(i for i, owner in enumerate(tokens.owners) if owner == token.i)
            for layer, values in enumerate((read.embedded, read.output)):
                expected = values[0, last].detach().numpy()
                numpy.testing.assert_allclose(
                    found[layer, token.i], expected, rtol=1e-4, atol=1e-6
                )


@pytest.mark.parametrize("n", [3, 4, 7])
def test_every_one_of_repeated_words_has_vectors(model, n):
    (layers,) = model.predict([make_doc(["no"] * n + ["way"])])
    assert layers.any(axis=(0, 2)).all()


def test_no_documents_and_documents_without_words_are_fine(model):
    assert model.predict([]) == []
    layers, backprop = model.begin_update([make_doc([]), make_doc([" "])])
    assert [part.shape for part in layers] == [(2, 0, 4), (2, 1, 4)]
    backprop(layers)


def test_gradient_of_white_space_reaches_nothing(model):
    docs = [make_doc(["so", " ", "no"])]
    layers, backprop = model.begin_update(docs)
    gradient = [numpy.zeros_like(layers[0])]
    gradient[0][:, 1] = 1.0
    backprop(gradient)
    for parameter in model.shims[0].module.parameters():
        assert parameter.grad is None or not parameter.grad.any()
