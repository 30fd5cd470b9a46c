import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import DocTokenizer, create_lm_tokenizer
from spacy_elmo_ulmfit.text.markers import Markers

from ..util import make_doc


@pytest.mark.parametrize(
    "words, text",
    [
        ("xxmaj the cat", "The cat"),
        ("xxup usa and xxmaj new xxmaj york", "USA and New York"),
        ("s xxrep 3 o", "s ooo"),
        ("xxwrep 4 no way", "no no no no way"),
        ("xxwrep 3 xxmaj no way", "No No No way"),
        ("xxmaj xxrep 3 o", "Ooo"),
        # What a model may write, too.
        ("a xxmaj", "a"),
        ("xxmaj xxmaj xxup a", "A"),
        ("xxrep o o", "o o"),
        ("xxrep 3", "3"),
        ("xxrep xxrep 2 3 a", "a" * 33),
        ("xxrep 99 xxrep 99 a", "a" * 99),
        ("xxwrep 1000000000 a", "1000000000 a"),
        ("xxrep ² a", "² a"),
        ("", ""),
    ],
)
def test_markers_are_undone(words, text):
    assert " ".join(Markers().restore(words.split())) == text


@given(st.lists(st.sampled_from([*Markers().announcing, "2", "3", "a", "b"])))
def test_any_words_can_be_restored(words):
    restored = Markers().restore(words)
    assert not set(restored) & set(Markers().announcing)


def test_a_long_row_of_markers_can_be_restored():
    assert Markers().restore(["xxmaj"] * 5000 + ["a"]) == ["A"]


TEXT = "Hello, the USA sooooo big! No no no no way"


@pytest.mark.parametrize(
    "kind, text",
    [
        ("v2", "Hello , the USA s ooooo big ! No no no no way"),
        ("v1", "Hello , the USA s ooooo big ! No no no no way"),
        ("v0.7", "hello , the USA s ooooo big ! no no no no way"),
        ("doc", "Hello , the USA s ooooo big ! No no no no way"),
    ],
)
def test_a_text_comes_back_as_its_words(kind, text):
    tokenizer = create_lm_tokenizer(kind, "en")
    words = tokenizer(spacy.blank("en")(TEXT)).words
    ends, silent = tokenizer.markers.ends, tokenizer.markers.silent
    assert words[0] in ends or words[1] in ends
    start = 4 if kind == "v0.7" else 1
    assert not set(words[start:]) & {*ends, *silent}
    assert tokenizer.decode(words[start:]) == text


def test_shown_spaces_are_spaces_again():
    tokenizer = create_lm_tokenizer("v2", "en")
    words = tokenizer(spacy.blank("en")("one \n  two")).words[1:]
    assert any("▁" in word for word in words)
    assert "▁" not in tokenizer.decode(words)


def test_words_of_the_doc_come_back():
    doc = make_doc("IN Rome we we we sat".split())
    tokenizer = DocTokenizer()
    assert tokenizer.decode(tokenizer(doc).words[1:]) == doc.text.strip()
