import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import Adam

from ..conftest import AWD_LSTM, create_language_model
from .util import listener, load, tagged, tagger, train

TEXT = "Anna lives in ROME .\n She works a lot ."


def test_every_token_has_a_row_and_white_space_has_zeros(awd_lstm):
    doc = awd_lstm(TEXT)
    assert doc._.awd_lstm.layers.shape == (2, len(doc), 8)
    spaces = [token.i for token in doc if token.is_space]
    words = [token.i for token in doc if not token.is_space]
    assert not doc._.awd_lstm.layers[:, spaces].any()
    assert doc._.awd_lstm.layers[1, words].any(axis=1).all()


def test_vectors_do_not_depend_on_the_batch(awd_lstm):
    texts = ["Anna lives in Rome .", "x", "", TEXT, "She works"]
    alone = [awd_lstm(text)._.awd_lstm.layers for text in texts]
    together = list(awd_lstm.pipe(reversed(texts)))[::-1]
    for one, doc in zip(alone, together):
        assert_allclose(one, doc._.awd_lstm.layers, atol=1e-6)


def test_a_token_has_the_vector_after_all_of_its_pieces(awd_lstm):
    pipe = awd_lstm.get_pipe("awd_lstm_tok2vec")
    doc = awd_lstm("Anna met BOB")
    words, owners = pipe.lm_tokens(doc)
    assert words == ["xxbos", "xxmaj", "anna", "met", "xxup", "bob"]
    ids = torch.tensor([pipe.vocabulary.ids(words)])
    pipe.language_model.eval()
    _, outputs, _ = pipe.language_model(ids)
    expected = outputs[-1][0, [2, 3, 5]].detach().numpy()
    assert_allclose(doc._.awd_lstm.layer(1), expected, atol=1e-6)


@pytest.mark.parametrize("rnn", ["lstm", "qrnn"])
def test_the_module_of_a_loaded_pipeline_predicts_word_by_word(rnn, tmp_path):
    create_language_model(f'{AWD_LSTM}rnn = "{rnn}"\n').to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    module, ids = pipe.language_model, torch.arange(2, 8).view(1, -1)
    logits, outputs, state = module(ids)
    assert logits.shape == (1, 6, len(pipe.vocabulary))
    assert [output.shape for output in outputs] == [(1, 6, 10), (1, 6, 8)]
    one_by_one, going_on = [], None
    for word in ids.T:
        piece, _, going_on = module(word.view(1, 1), going_on)
        one_by_one.append(piece)
    torch.testing.assert_close(torch.cat(one_by_one, dim=1), logits)
    for found, expected in zip(going_on, state, strict=True):
        torch.testing.assert_close(found, expected)


def test_disk_round_trip(awd_lstm, tmp_path):
    awd_lstm.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert_array_equal(loaded(TEXT)._.awd_lstm.layers, awd_lstm(TEXT)._.awd_lstm.layers)


@pytest.mark.parametrize("frozen", [True, False])
def test_listeners_learn_from_it(awd_lstm_path, frozen):
    mix = {
        "@architectures": "spacy-elmo-ulmfit.ScalarMix.v1",
        "n_layers": 2,
        "dropout": 0.0,
    }
    nlp = load(
        {
            "awd_lstm_tok2vec": {"source": str(awd_lstm_path)},
            "tagger": tagger(listener("awd_lstm_tok2vec", width=8, mix=mix)),
        }
    )
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    pipe.frozen = frozen
    with nlp.select_pipes(disable=["awd_lstm_tok2vec"]):
        nlp.initialize(lambda: tagged(nlp))
    before = pipe.language_model.embedding.weight.detach().clone().numpy()
    losses = train(nlp, 10, Adam(0.05))
    after = pipe.language_model.embedding.weight.detach().numpy()
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert bool(numpy.array_equal(before, after)) is frozen
