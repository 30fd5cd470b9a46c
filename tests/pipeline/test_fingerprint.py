"""Whatever changes a language model's layers changes its fingerprint, or a document's key."""

import dataclasses
import importlib.metadata

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_array_equal
from spacy.tokens import Doc

from spacy_elmo_ulmfit.pipeline import fingerprint as fingerprints
from spacy_elmo_ulmfit.pipeline.fingerprint import fingerprint
from spacy_elmo_ulmfit.text import ByteIndexer, Vocabulary, create_lm_tokenizer

from .util import AWD_LSTM, ELMO

ELMO_ATTRIBUTES = {
    "initial_state": "zeros",
    "sequences": "doc",
    "window_length": 7,
    "keep_sentence_boundaries": True,
}


def change_weight(pipe):
    with torch.no_grad():
        list(pipe.language_model.parameters())[0].view(-1)[0] += 1e-6


def change_warm_state(pipe):
    pipe.language_model.warm_cell[0, 0, 0, 0] += 1e-6


def change_setting(name, value):
    def change(pipe):
        module = pipe.language_model
        module.config = dataclasses.replace(module.config, **{name: value})

    return change


def change_attribute(name, value):
    return lambda pipe: pipe.model.attrs.update({name: value})


def swap_words(pipe):
    words = list(pipe.vocabulary.words)
    words[-2:] = words[-2:][::-1]
    old = pipe.vocabulary
    pipe.shim.vocabulary = Vocabulary(words, old.counts, unknown=old.unknown)


ELMO_CHANGES = {
    "weight": change_weight,
    "warm": change_warm_state,
    "proj_clip": change_setting("proj_clip", 1.0),
    "residual": change_setting("residual", False),
    "indexer": lambda pipe: pipe.shim.set_indexer(ByteIndexer(9)),
    **{name: change_attribute(name, ELMO_ATTRIBUTES[name]) for name in ELMO_ATTRIBUTES},
}
AWD_LSTM_CHANGES = {
    "weight": change_weight,
    "direction": change_setting("direction", "backward"),
    "words": swap_words,
    "bptt": change_attribute("bptt", 3),
    **{
        rules: lambda pipe, rules=rules: pipe.shim.set_tokenizer(
            create_lm_tokenizer(rules, "en")
        )
        for rules in ("v1", "doc", "words")
    },
    "lang": lambda pipe: pipe.shim.set_tokenizer(create_lm_tokenizer("v2", "de")),
}
CHANGES = [
    *((ELMO, name, change) for name, change in ELMO_CHANGES.items()),
    *((AWD_LSTM, name, change) for name, change in AWD_LSTM_CHANGES.items()),
]


@pytest.fixture
def pipe(kind, elmo, awd_lstm):
    nlp = {ELMO: elmo, AWD_LSTM: awd_lstm}[kind]
    return nlp.get_pipe(kind.component)


@pytest.mark.parametrize(
    "kind, change",
    [(kind, change) for kind, _, change in CHANGES],
    ids=[f"{kind}-{name}" for kind, name, _ in CHANGES],
)
def test_what_changes_the_layers_changes_the_fingerprint(kind, pipe, change):
    before = fingerprint(pipe.model)
    assert fingerprint(pipe.model) == before
    change(pipe)
    assert fingerprint(pipe.model) != before


both = pytest.mark.parametrize("kind", [ELMO, AWD_LSTM], ids=str)


@both
def test_other_versions_have_other_fingerprints(kind, pipe, monkeypatch):
    version, seen = importlib.metadata.version, {fingerprint(pipe.model)}
    for library in ("spacy", "torch"):
        monkeypatch.setattr(
            importlib.metadata,
            "version",
            lambda name, library=library: "0" if name == library else version(name),
        )
        seen.add(fingerprint(pipe.model))
    monkeypatch.setattr(importlib.metadata, "version", version)
    monkeypatch.setattr(fingerprints, "__version__", "0")
    seen.add(fingerprint(pipe.model))
    monkeypatch.undo()
    monkeypatch.setattr(fingerprints, "_FORMAT", 0)
    seen.add(fingerprint(pipe.model))
    assert len(seen) == 5


@both
def test_copies_and_settings_of_training_have_the_same_fingerprint(
    kind, pipe, tmp_path, elmo_path, awd_lstm_path
):
    path = {ELMO: elmo_path, AWD_LSTM: awd_lstm_path}[kind]
    expected = fingerprint(pipe.model)
    nlp = spacy.load(path)
    nlp.to_disk(tmp_path)
    copies = [nlp, spacy.load(tmp_path), nlp.from_bytes(nlp.to_bytes())]
    for copy in copies:
        assert fingerprint(copy.get_pipe(kind.component).model) == expected
    dropouts = [name for name in vars(pipe.language_model.config) if "dropout" in name]
    for name in dropouts:
        change_setting(name, 0.7)(pipe)
    pipe.model.attrs["batch_size"] = pipe.model.attrs["max_batch_tokens"] = 3
    pipe.shim.set_trainable_groups(0)
    assert dropouts
    assert fingerprint(pipe.model) == expected


def docs_of(nlp, *settings):
    return [Doc(nlp.vocab, **setting) for setting in settings]


def assert_told_apart(pipe, docs):
    """Their keys differ, and so do their layers, alone and in one training batch."""
    assert len({pipe.document_key(doc) for doc in docs}) == len(docs)
    alone = [pipe.predict([doc])[0].astype("float16") for doc in docs]
    for doc, layers in zip(docs, pipe.predict_cached(docs)):
        (expected,) = (one for one, other in zip(alone, docs) if other is doc)
        numpy.testing.assert_allclose(layers, expected, atol=1e-3)
    assert not numpy.array_equal(alone[0], alone[1])


def test_an_awd_lstm_tells_white_space_between_tokens_apart(awd_lstm):
    pipe, words = awd_lstm.get_pipe("awd_lstm_tok2vec"), ["An", "na", "lives"]
    docs = docs_of(
        awd_lstm,
        {"words": words, "spaces": [True, True, False]},
        {"words": words, "spaces": [False, True, False]},
    )
    read = [pipe.lm_tokens(doc).words for doc in docs]
    assert read[0] != read[1]
    assert_told_apart(pipe, docs)


def test_an_awd_lstm_tells_the_tokens_of_one_text_apart(awd_lstm):
    pipe = awd_lstm.get_pipe("awd_lstm_tok2vec")
    docs = docs_of(
        awd_lstm,
        {"words": ["Annamet", "Bob"]},
        {"words": ["Anna", "met", "Bob"], "spaces": [False, True, True]},
    )
    assert docs[0].text == docs[1].text
    keys = {pipe.document_key(doc) for doc in docs}
    assert len(keys) == 2
    assert [layers.shape[1] for layers in pipe.predict_cached(docs)] == [2, 3]


def test_a_bilm_tells_sentences_and_tokens_apart(elmo):
    pipe, words = elmo.get_pipe("elmo_tok2vec"), ["Anna", "lives", "in", "Rome"]
    docs = docs_of(
        elmo,
        {"words": words},
        {"words": words, "sent_starts": [True, False, True, False]},
        {"words": ["Annal", "ives", "in", "Rome"]},
    )
    assert_told_apart(pipe, docs)
    # No sentences, and one: it is read as a whole.
    whole = Doc(elmo.vocab, words=words, sent_starts=[True, False, False, False])
    assert pipe.document_key(whole) == pipe.document_key(docs[0])


def test_a_bilm_that_reads_documents_as_a_whole_does_not_look_at_sentences(elmo):
    pipe = elmo.get_pipe("elmo_tok2vec")
    pipe.model.attrs["sequences"] = "doc"
    words = ["Anna", "lives", "in", "Rome"]
    starts = [True, False, True, False]
    docs = docs_of(
        elmo,
        {"words": words, "spaces": [True] * 4},
        {"words": words, "spaces": [False] * 4, "sent_starts": starts},
    )
    assert pipe.document_key(docs[0]) == pipe.document_key(docs[1])
    assert_array_equal(*pipe.predict(docs))


def test_a_bilm_reads_the_sentences_of_a_hook(elmo):
    pipe, words = elmo.get_pipe("elmo_tok2vec"), ["Anna", "lives", "in", "Rome"]
    docs = docs_of(elmo, {"words": words}, {"words": words})
    docs[1].user_hooks["sents"] = lambda doc: [doc[:1], doc[1:]]
    assert_told_apart(pipe, docs)
