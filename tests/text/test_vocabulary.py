import json

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import Vocabulary

COUNTS = {"the": 5, "a": 5, "cat": 3, "rare": 1, "<S>": 4, "<UNK>": 2}
RULES = {"specials": ("<S>", "</S>", "<UNK>"), "unknown": "<UNK>"}


def build(counts=COUNTS, max_size=0, min_freq=2):
    return Vocabulary.build(counts, max_size=max_size, min_freq=min_freq, **RULES)


def test_specials_come_first_then_the_commonest_words():
    vocabulary = build()
    assert vocabulary.words == ["<S>", "</S>", "<UNK>", "a", "the", "cat"]
    assert vocabulary.ids(["cat", "rare", "</S>"]) == [5, 2, 1]
    assert "rare" not in vocabulary and "cat" in vocabulary


def test_unknown_word_counts_all_words_left_out():
    assert build().counts == [4, 0, 3, 5, 5, 3]


@pytest.mark.parametrize("max_size, n_words", [(0, 6), (5, 5), (3, 3), (1, 3)])
def test_max_size_bounds_the_words_but_never_the_specials(max_size, n_words):
    vocabulary = build(max_size=max_size)
    assert len(vocabulary) == n_words
    assert sum(vocabulary.counts) == sum(COUNTS.values())


@given(
    st.dictionaries(st.text(), st.integers(0, 50), max_size=12),
    st.integers(0, 10),
    st.integers(0, 5),
)
def test_vocabulary_survives_json_and_ids_are_positions(counts, max_size, min_freq):
    vocabulary = build(counts, max_size, min_freq)
    again = Vocabulary.from_json(json.loads(json.dumps(vocabulary.to_json())))
    assert again.words == vocabulary.words
    assert again.counts == vocabulary.counts
    assert again.unknown_id == 2
    assert again.ids(vocabulary.words) == list(range(len(vocabulary)))
    assert sum(vocabulary.counts) == sum(counts.values())


@pytest.mark.parametrize(
    "words, counts, message",
    [
        (["a", "b", "a"], [1, 1, 1], "twice.*'a'"),
        (["a", "b"], [1], "2 words.*got 1"),
        (["b", "c"], [1, 1], "lacks its unknown word 'a'"),
    ],
)
def test_a_vocabulary_that_cannot_be_is_refused(words, counts, message):
    with pytest.raises(ValueError, match=message):
        Vocabulary(words, counts, unknown="a")


def test_extending_keeps_ids_and_takes_the_counts_of_the_new_text():
    old = build()
    new = build({"dog": 7, "cat": 4, "the": 2})
    extended = old.extend(new)
    assert extended.words == [*old.words, "dog"]
    assert extended.counts[extended.id("dog")] == 7
    assert extended.counts[extended.id("cat")] == 4
    assert extended.counts[extended.id("a")] == 0
    assert old.words[-1] == "cat"


def test_unigram_probabilities_are_the_smoothed_counts():
    vocabulary = Vocabulary(["x", "y"], [3, 0], unknown="x")
    numpy.testing.assert_allclose(
        numpy.exp(vocabulary.unigram_log_probs()), [4 / 5, 1 / 5]
    )
