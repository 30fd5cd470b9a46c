import numpy
import pytest
import spacy
from numpy.testing import assert_allclose

from spacy_elmo_ulmfit.vectors.encoder import (
    encode,
    find_encoder,
    has_layers,
    learnt_mix,
)

from .util import LEARNT


def test_the_only_language_model_is_found(elmo, awd_lstm):
    assert find_encoder(elmo).name == "elmo_tok2vec"
    assert find_encoder(awd_lstm).attribute == "awd_lstm"


def test_several_language_models_need_a_name(two_path):
    nlp = spacy.load(two_path)
    with pytest.raises(ValueError, match="p has 2 language models.*elmo_tok2vec, awd"):
        find_encoder(nlp, source="p")
    assert find_encoder(nlp, "awd_lstm_tok2vec").attribute == "awd_lstm"


def test_what_is_not_there_is_named(elmo):
    with pytest.raises(ValueError, match="no language model component 'ner'; it has"):
        find_encoder(elmo, "ner")
    with pytest.raises(ValueError, match="holds no language model"):
        find_encoder(spacy.blank("en"))


def test_components_before_the_language_model_run_and_those_after_do_not(elmo):
    elmo.add_pipe("sentencizer", first=True)
    elmo.add_pipe("entity_ruler").add_patterns([{"label": "X", "pattern": "Rome"}])
    text = "Anna lives in Rome . She works ."
    (doc,) = encode(elmo, find_encoder(elmo), [text], batch_size=2)
    assert len(list(doc.sents)) == 2 and not doc.ents
    whole = elmo(text)
    assert whole.ents
    numpy.testing.assert_array_equal(doc._.elmo.layers, whole._.elmo.layers)


def test_a_document_of_another_length_does_not_have_the_layers(elmo):
    encoder, doc = find_encoder(elmo), elmo("Anna lives in Rome")
    assert has_layers(doc, encoder)
    assert not has_layers(doc[0:2].as_doc(copy_user_data=True), encoder)
    assert not has_layers(elmo.make_doc("Anna"), encoder)


def test_learnt_mix_is_the_softmax_and_gamma(tagger_path):
    nlp = spacy.load(tagger_path)
    shares, gamma = learnt_mix(nlp, find_encoder(nlp), "tagger")
    expected = numpy.exp(LEARNT[0]) / numpy.exp(LEARNT[0]).sum()
    assert_allclose(shares, expected, rtol=1e-5)
    assert gamma == LEARNT[1]


def test_a_component_that_does_not_listen_has_no_mix(tagger_path):
    nlp = spacy.load(tagger_path)
    nlp.add_pipe("sentencizer")
    for name in ("sentencizer", "ner"):
        with pytest.raises(ValueError, match=f"'{name}' does not .* do: tagger"):
            learnt_mix(nlp, find_encoder(nlp), name)


def test_several_mixes_are_shown_to_choose_from(tagger_path):
    nlp = spacy.load(tagger_path)
    encoder = find_encoder(nlp)
    encoder.listener_map["tagger"] *= 2
    with pytest.raises(ValueError, match="2 mixes.*0.5741,.*gamma 3.0000"):
        learnt_mix(nlp, encoder, "tagger")
