import numpy
import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.pretraining.corpus.stream import (
    TokenStream,
    prepared_docs,
)

from ...util import make_doc, stream_of

DOCUMENTS = [["a", "b"], ["c"], ["a", "d", "e", "f"], ["b", "b"]]


def build(documents=DOCUMENTS, kind="bilm"):
    return stream_of(kind, [make_doc(words) for words in documents])


def spelled(stream, tokens=None):
    return [stream.types[i] for i in (stream.tokens if tokens is None else tokens)]


def test_a_bilm_reads_one_boundary_before_every_sentence():
    doc = make_doc(["a", "b", "\n", "c"], [True, False, True, True])
    stream = stream_of("bilm", [doc, make_doc(["d"])])
    assert spelled(stream) == ["<S>", "a", "b", "<S>", "c", "<S>", "d"]
    assert stream.doc_starts.tolist() == [0, 5]


def test_an_awd_lstm_reads_its_own_tokens():
    stream = build([["Hello", "you"], ["WOW"]], "awd_lstm")
    assert spelled(stream) == [
        "xxbos", "xxmaj", "hello", "you", "xxbos", "xxup", "wow",
    ]  # fmt: skip
    assert stream.counts()["xxbos"] == 2


@pytest.mark.parametrize("kind", ["bilm", "awd_lstm"])
def test_documents_without_words_leave_no_trace(kind):
    found = build([["a"], [], ["b"], ["\n"]], kind)
    assert spelled(found) == spelled(build([["a"], ["b"]], kind))


@given(
    st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1),
    st.integers(0, 5),
)
def test_shuffling_keeps_documents_whole(documents, seed):
    stream = build(documents)
    found = " ".join(spelled(stream, stream.shuffled([seed, 0])))
    pieces = sorted(piece.split() for piece in found.split("<S>")[1:])
    assert pieces == sorted(documents)


def test_order_depends_on_the_seed_alone():
    stream = build([[str(i)] for i in range(50)])
    first = stream.shuffled([3, 1])
    numpy.random.seed(1)
    assert numpy.array_equal(first, stream.shuffled([3, 1]))
    assert not numpy.array_equal(first, stream.shuffled([3, 2]))
    assert not numpy.array_equal(first, stream.tokens)


def test_a_stored_stream_is_the_same(tmp_path):
    stream = build([["ä", "\u2028"], ["三"]])
    stream.save(tmp_path / "deep" / "folder")
    again = TokenStream.load(tmp_path / "deep" / "folder")
    assert again.types == stream.types
    assert numpy.array_equal(again.tokens, stream.tokens)
    assert numpy.array_equal(again.doc_starts, stream.doc_starts)
    assert numpy.array_equal(again.shuffled([1]), stream.shuffled([1]))
    assert again.fingerprint() == stream.fingerprint()


@pytest.mark.parametrize(
    "documents", [[["a", "b"]], [["b", "a", "a"]], [["x", "y", "x"]]]
)
def test_fingerprint_tells_texts_apart(documents):
    # The last one has the same pattern, but other words.
    assert build(documents).fingerprint() != build([["a", "b", "a"]]).fingerprint()


def test_components_before_the_language_model_see_the_documents():
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.add_pipe("sentencizer", name="language_model")
    doc = nlp.make_doc("One. Two.")
    (found,) = prepared_docs(nlp, "language_model", [doc])
    assert len(list(found.sents)) == 2
    (bare,) = prepared_docs(nlp, "sentencizer", [nlp.make_doc("One. Two.")])
    assert not bare.has_annotation("SENT_START")
