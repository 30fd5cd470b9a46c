import pytest

from spacy_elmo_ulmfit.text import token_sequences

from ..util import make_doc


@pytest.mark.parametrize(
    "words, starts, expected",
    [
        (["a", "b", "c"], None, [[0, 1, 2]]),
        (["a", "b", "c"], [True, False, True], [[0, 1], [2]]),
        (["a", " ", "c"], None, [[0, 2]]),
        (["a", "\n\n", "c"], [True, True, True], [[0], [2]]),
        ([" ", "\n"], None, []),
        ([], None, []),
    ],
)
def test_sequences_are_sentences_without_white_space(words, starts, expected):
    assert token_sequences(make_doc(words, starts)) == expected
