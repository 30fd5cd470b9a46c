import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import BEGIN_SENTENCE, END_SENTENCE
from spacy_elmo_ulmfit.text.batches import SequenceBatcher

from ..util import make_doc

WORDS = st.lists(st.sampled_from(["a", "b", "long", " ", "\n"]), max_size=9)


@given(st.lists(WORDS, max_size=6), st.integers(0, 12))
def test_every_word_is_read_once_at_its_own_place(documents, max_tokens):
    docs = [make_doc(words) for words in documents]
    seen = []
    for batch in SequenceBatcher().batches(docs, max_tokens):
        assert len(set(batch.words)) == len(batch.words)
        assert sum(batch.lengths) == len(batch.word_index)
        for position, (doc, token) in zip(batch.positions, batch.owners, strict=True):
            assert batch.words[batch.word_index[position]] == docs[doc][token].text
        seen += batch.owners
    assert sorted(seen) == [
        (number, token.i)
        for number, doc in enumerate(docs)
        for token in doc
        if not token.is_space
    ]


def test_each_sequence_stands_between_its_boundaries():
    docs = [make_doc(["a", "b", "c"], [True, False, True])]
    (batch,) = SequenceBatcher().batches(docs, 0)
    read = [batch.words[i] for i in batch.word_index]
    assert read == [
        BEGIN_SENTENCE, "a", "b", END_SENTENCE, BEGIN_SENTENCE, "c", END_SENTENCE,
    ]  # fmt: skip


@pytest.mark.parametrize("max_tokens, n_batches", [(0, 1), (100, 1), (10, 2), (1, 4)])
def test_batches_stay_within_their_bound(max_tokens, n_batches):
    docs = [make_doc(["a"] * 3) for _ in range(4)]
    batches = list(SequenceBatcher().batches(docs, max_tokens))
    assert len(batches) == n_batches
    if max_tokens > 5:
        assert all(sum(batch.lengths) <= max_tokens for batch in batches)


def test_no_documents_make_no_batch():
    assert list(SequenceBatcher().batches([make_doc([]), make_doc([" "])], 10)) == []


def test_kept_boundaries_get_rows_after_the_tokens():
    batcher = SequenceBatcher(keep_boundaries=True)
    docs = [make_doc(["a", " ", "b", "c"], [True, False, False, True])]
    assert batcher.n_rows(docs[0]) == 8
    (batch,) = batcher.batches(docs, 0)
    read = [batch.words[i] for i in batch.word_index]
    rows = {row: read[i] for i, (_, row) in zip(batch.positions, batch.owners)}
    assert rows == {
        0: "a", 2: "b", 3: "c",
        4: BEGIN_SENTENCE, 5: END_SENTENCE, 6: BEGIN_SENTENCE, 7: END_SENTENCE,
    }  # fmt: skip


def test_a_whole_document_can_be_one_sequence_in_spite_of_its_sentences():
    docs = [make_doc(["a", "b", "c"], [True, False, True])]
    (batch,) = SequenceBatcher(by="doc").batches(docs, 0)
    assert batch.lengths == [5]


def test_without_a_bound_the_order_is_that_of_the_documents():
    docs = [make_doc(["a"]), make_doc(["b"] * 5), make_doc(["c"] * 3)]
    (batch,) = SequenceBatcher().batches(docs, 0)
    assert batch.lengths == [3, 7, 5]
