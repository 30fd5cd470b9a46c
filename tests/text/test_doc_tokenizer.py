import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import DocTokenizer
from spacy_elmo_ulmfit.text.special_words import SPECIALS

from ..util import make_doc


@pytest.mark.parametrize(
    "words, expected, owners",
    [
        (["hello"], ["hello"], [0]),
        (["Hello"], ["xxmaj", "hello"], [0, 0]),
        (["HELLO"], ["xxup", "hello"], [0, 0]),
        (["I"], ["i"], [0]),
        (["iPhone"], ["iphone"], [0]),
        (["sooo"], ["s", "xxrep", "3", "o"], [0, 0, 0, 0]),
        (["!!!!"], ["xxrep", "4", "!"], [0, 0, 0]),
        (["!!"], ["!!"], [0]),
        (
            ["Waaay", "upppp"],
            ["xxmaj", "w", "xxrep", "3", "a", "y", "u", "xxrep", "4", "p"],
            None,
        ),
        (["a", "a", "b"], ["a", "a", "b"], [0, 1, 2]),
        (["-", "-", "-"], ["-", "-", "-"], [0, 1, 2]),
        (["a", "\n", "b"], ["a", "b"], [0, 2]),
    ],
)
def test_rules_are_those_of_the_published_models(words, expected, owners):
    if words[0] == "Waaay":
        # A single letter has no case to tell of.
        expected = [word for word in expected if word != "xxmaj"]
    found = DocTokenizer()(make_doc(words))
    assert found.words == ["xxbos", *expected]
    if owners is not None:
        assert found.owners == [-1, *owners]


def test_repeated_words_are_counted_once():
    found = DocTokenizer()(make_doc(["no", "no", "no", "no", "way"]))
    assert found.words == ["xxbos", "xxwrep", "4", "no", "way"]


@pytest.mark.parametrize("n", [3, 4, 7])
def test_tokens_of_repeated_words_belong_to_those_words(n):
    owners = DocTokenizer()(make_doc(["so"] + ["no"] * n + ["way"])).owners
    assert owners[:2] == [-1, 0] and owners[-1] == n + 1
    assert owners == sorted(owners) and {1, n} <= set(owners)


def test_very_many_repeated_characters_do_not_break_a_document():
    found = DocTokenizer()(make_doc(["aaabbb" * 1000]))
    assert found.words[:4] == ["xxbos", "xxrep", "3", "a"]
    assert len(found.words) == 1 + 3 * 2000


@given(st.lists(st.text(min_size=1, max_size=8), max_size=12))
def test_owners_tell_which_token_each_piece_belongs_to(words):
    doc = make_doc(words)
    found = DocTokenizer()(doc)
    assert len(found.words) == len(found.owners)
    assert DocTokenizer().words(doc) == found.words
    assert (found.words[0], found.owners[0]) == ("xxbos", -1)
    assert found.owners == sorted(found.owners)
    real = {token.i for token in doc if not token.is_space}
    assert set(found.owners[1:]) <= real
    read = [token.text for token in doc if not token.is_space]
    # Words that come three times in a row are read once.
    if all(word != following for word, following in zip(read, read[2:])):
        assert set(found.owners[1:]) == real


@given(st.text(min_size=1, max_size=12))
def test_no_letter_is_lost(word):
    assume(word.lower() not in SPECIALS)
    found = DocTokenizer()(make_doc([word]))
    if make_doc([word])[0].is_space:
        assert found.words == ["xxbos"]
        return
    pieces, position = [], 1
    while position < len(found.words):
        piece = found.words[position]
        if piece == "xxrep" and position + 2 < len(found.words):
            count, character = found.words[position + 1 : position + 3]
            pieces.append(character * int(count))
            position += 3
            continue
        if piece not in ("xxup", "xxmaj"):
            pieces.append(piece)
        position += 1
    assert "".join(pieces) == "".join(character.lower() for character in word) or (
        # Lower case of some letters depends on those around them.
        "".join(pieces).casefold() == word.lower().casefold()
    )


def test_an_empty_document_is_its_beginning():
    assert DocTokenizer()(make_doc([])) == (["xxbos"], [-1])


def test_special_ids_are_those_of_fastai():
    assert SPECIALS[:3] == ("xxunk", "xxpad", "xxbos")
    assert len(set(SPECIALS)) == 9
