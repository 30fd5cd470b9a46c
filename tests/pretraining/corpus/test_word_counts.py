import logging

from spacy_elmo_ulmfit.pretraining.corpus.stream import number_words
from spacy_elmo_ulmfit.pretraining.corpus.word_counts import WordCounts, count_words

SHARDS = [
    number_words([["a", "b", "a"], ["c", "a"]]),
    number_words([["b", "d", "b", "b"]]),
]


def test_counts_are_those_of_all_shards():
    counted = count_words(SHARDS)
    assert counted.counts == {"a": 3, "b": 4, "c": 1, "d": 1}
    assert counted.n_others == 0


def test_only_the_words_that_are_asked_for_are_held():
    counted = count_words(SHARDS, only={"b", "x"})
    assert counted.counts == {"b": 4}
    assert counted.n_others == 5


def test_words_held_are_bounded_whatever_the_text_and_this_is_logged(caplog):
    # Three common words, and new ones in every part of the text.
    parts = [
        {"the": 50, "of": 40, "and": 30, **{f"{part}-{i}": 1 for i in range(20)}}
        for part in range(40)
    ]
    counted = WordCounts(max_types=60)
    with caplog.at_level(logging.INFO, "spacy"):
        for part in parts:
            counted.add(part)
            assert len(counted.counts) <= 60
    common = {word: counted.counts[word] for word in ("the", "of", "and")}
    assert common == {"the": 2000, "of": 1600, "and": 1200}
    assert sum(counted.counts.values()) + counted.n_others == 40 * 140
    assert "more than 60 different words" in caplog.text


def test_no_table_is_too_small_for_words_of_equal_count():
    counted = WordCounts(max_types=2)
    counted.add({"a": 1, "b": 1, "c": 1})
    assert counted.counts == {} and counted.n_others == 3
