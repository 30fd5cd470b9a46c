import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text.characters import (
    BEGIN_SENTENCE,
    END_SENTENCE,
    words_to_chars,
)

PAD = 261


@pytest.mark.parametrize(
    "word, expected",
    [
        (BEGIN_SENTENCE, [259, 257, 260]),
        (END_SENTENCE, [259, 258, 260]),
        ("a", [259, 98, 260]),
        (chr(256) + "t", [259, 197, 129, 117, 260]),
        ("", [259, 260]),
    ],
)
def test_ids_are_the_published_ones(word, expected):
    row = words_to_chars([word], 10)[0].tolist()
    assert row == expected + [PAD] * (10 - len(expected))


def test_a_long_word_loses_its_last_bytes_and_keeps_the_end_marker():
    assert words_to_chars(["abcdef"], 5)[0].tolist() == [259, 98, 99, 100, 260]


def test_a_cut_may_fall_inside_a_character():
    # As published: bytes are cut, not characters.
    assert words_to_chars(["aé"], 4)[0].tolist() == [259, 98, 196, 260]


WORDS = st.text(max_size=30).filter(lambda word: word not in ("<S>", "</S>"))


@given(st.lists(WORDS, max_size=5), st.integers(3, 20))
def test_any_unicode_fits_and_its_first_bytes_can_be_read_back(words, max_chars):
    ids = words_to_chars(words, max_chars)
    assert ids.shape == (len(words), max_chars)
    for word, row in zip(words, ids.tolist()):
        used = [number for number in row if number != PAD]
        assert row == used + [PAD] * (max_chars - len(used))
        assert (used[0], used[-1]) == (259, 260)
        data = bytes(number - 1 for number in used[1:-1])
        assert data == word.encode("utf8", "ignore")[: max_chars - 2]


def test_half_a_surrogate_pair_is_left_out():
    assert words_to_chars(["a\ud83db"], 6)[0].tolist() == [259, 98, 99, 260, PAD, PAD]
