"""What holds for every text: vectors depend on nothing but the document."""

from typing import List

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from spacy.language import Language
from spacy.tokens import Doc

TOLERANCE = {"rtol": 0, "atol": 1e-5}
WORDS = st.sampled_from(
    ["the", "Rome", ".", "\n", "  ", "x" * 40, "日本", "🙂", "<S>", "n't"]
)
SENTENCES = st.lists(WORDS, max_size=12).map(" ".join)
# Any text that UTF-8 can write.
ANYTHING = st.text(st.characters(exclude_categories=["Cs"]), max_size=25)
TEXTS = st.lists(st.one_of(SENTENCES, ANYTHING), min_size=1, max_size=7)


def load(path, **changes) -> Language:
    config = {"components": {"elmo_tok2vec": {"model": changes}}}
    return spacy.load(path, config=config)


@pytest.fixture(scope="module")
def nlp(elmo_path) -> Language:
    return load(elmo_path)


@st.composite
def partitions(draw) -> List[List[str]]:
    """Draw texts, some of them repeated, in batches."""
    texts = draw(TEXTS)
    texts = draw(st.permutations(texts + draw(st.lists(st.sampled_from(texts)))))
    parts, rest = [], list(texts)
    while rest:
        size = draw(st.integers(1, len(rest)))
        parts.append(rest[:size])
        rest = rest[size:]
    return parts


def assert_same_layers(docs, expected):
    for doc in docs:
        layers = expected[doc.text]
        assert doc._.elmo.layers.shape == (3, len(doc), layers.shape[2])
        assert_allclose(doc._.elmo.layers, layers, err_msg=doc.text, **TOLERANCE)


@settings(max_examples=60, deadline=None)
@given(parts=partitions(), max_batch_tokens=st.integers(1, 40))
def test_vectors_depend_on_the_text_alone(nlp, parts, max_batch_tokens):
    expected = {
        text: nlp(text)._.elmo.layers for part in parts for text in sorted(set(part))
    }
    attrs = nlp.get_pipe("elmo_tok2vec").model.attrs
    before = attrs["max_batch_tokens"]
    attrs["max_batch_tokens"] = max_batch_tokens
    try:
        for part in parts:
            docs = list(nlp.pipe(part, batch_size=len(part)))
            assert [doc.text for doc in docs] == part
            assert_same_layers(docs, expected)
    finally:
        attrs["max_batch_tokens"] = before


@settings(max_examples=3, deadline=None)
@given(texts=TEXTS, batch_size=st.integers(1, 4))
def test_vectors_do_not_depend_on_the_number_of_processes(nlp, texts, batch_size):
    expected = {text: nlp(text)._.elmo.layers for text in texts}
    docs = list(nlp.pipe(texts, n_process=2, batch_size=batch_size))
    assert [doc.text for doc in docs] == texts
    assert_same_layers(docs, expected)


@st.composite
def sentences(draw) -> "tuple[List[str], List[bool]]":
    """Draw the words of a document and which of them start a sentence."""
    words = draw(st.lists(WORDS, min_size=1, max_size=20))
    starts = [i == 0 or draw(st.booleans()) for i in range(len(words))]
    return words, starts


@settings(max_examples=40, deadline=None)
@given(document=sentences(), other=sentences())
def test_sentences_of_one_document_do_not_touch_each_other(nlp, document, other):
    words, starts = document
    whole = nlp(Doc(nlp.vocab, words=words, sent_starts=starts))
    alone = [
        nlp(Doc(nlp.vocab, words=[token.text for token in sentence]))
        for sentence in whole.sents
    ]
    for sentence, doc in zip(whole.sents, alone):
        found = whole._.elmo.layers[:, sentence.start : sentence.end]
        assert_allclose(found, doc._.elmo.layers, **TOLERANCE)


@pytest.fixture(scope="module")
def windowed(elmo_path):
    """Pipelines that read whole documents, by window length."""
    return {
        length: load(elmo_path, sequences="doc", window_length=length)
        for length in (1, 2, 3, 7, 1000)
    }


@settings(max_examples=40, deadline=None)
@given(document=sentences(), length=st.sampled_from([1, 2, 3, 7]))
def test_window_length_does_not_change_vectors(windowed, document, length):
    words, starts = document
    layers = []
    for nlp in (windowed[length], windowed[1000]):
        doc = nlp(Doc(nlp.vocab, words=words, sent_starts=starts))
        layers.append(doc._.elmo.layers)
    assert_allclose(*layers, **TOLERANCE)


@settings(max_examples=20, deadline=None)
@given(documents=st.lists(sentences(), min_size=1, max_size=4))
def test_windows_of_many_documents_do_not_mix(windowed, documents):
    nlp, whole = windowed[3], windowed[1000]
    docs = [Doc(nlp.vocab, words=w, sent_starts=s) for w, s in documents]
    for doc, (words, starts) in zip(nlp.pipe(docs), documents):
        alone = whole(Doc(whole.vocab, words=words, sent_starts=starts))
        assert_allclose(doc._.elmo.layers, alone._.elmo.layers, **TOLERANCE)
