import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.symbols import ORTH

from spacy_elmo_ulmfit.text.affixes import AffixSplitter
from spacy_elmo_ulmfit.text.language_tokenizer import _special_pairs

LANGUAGES = ["en", "de", "it", "es", "hu", "ru", "xx"]
CHUNKS = st.text(
    st.characters(exclude_categories=["Z", "Cc", "Cs"]), min_size=1, max_size=8
) | st.lists(
    st.sampled_from(
        [
            *"aİß0:;,.!?()[]-–'’\"…$%&/#@*_=+<>",
            "word",
            "don't",
            "l'",
            "z.B.",
            "U.S.",
            "km",
        ]
        + [
            ":)",
            ":-(",
            "o.O",
            "...",
            "n't",
            "'s",
            "http://x.org/a",
            "10",
            "x@y.de",
            "xxunk",
        ]
        + [
            "C++",
            "(ಠ_ಠ)",
            "a.m.",
            "Mr.",
            "¯\\(ツ)/¯",
            "gonna",
            "--",
            "aujourd'hui",
            "-e",
        ]
    ),
    min_size=1,
    max_size=6,
).map("".join)


@pytest.fixture(scope="module", params=LANGUAGES)
def tokenizers(request):
    tokenizer = spacy.blank(request.param).tokenizer
    tokenizer.add_special_case("xxunk", [{ORTH: "xxunk"}])
    return tokenizer, AffixSplitter(tokenizer, _special_pairs(tokenizer))


@given(chunk=CHUNKS)
def test_the_words_are_those_of_the_tokenizer(tokenizers, chunk):
    tokenizer, split = tokenizers
    expected = [token.text for token in tokenizer(chunk)]
    assert split(chunk) == expected
    # What is remembered is the same.
    assert split(chunk) == expected


@given(first=CHUNKS, second=CHUNKS)
def test_what_is_known_of_one_word_changes_no_other(tokenizers, first, second):
    tokenizer, split = tokenizers
    for chunk in (second, first + second, f"({second}),", second + first):
        assert split(chunk) == [token.text for token in tokenizer(chunk)]


@pytest.mark.parametrize("chunk", ["(" * 500, "a" * 20_000, "a-" * 2_000])
def test_no_word_is_too_long(chunk):
    tokenizer = spacy.blank("xx").tokenizer
    split = AffixSplitter(tokenizer, _special_pairs(tokenizer))
    assert split(chunk) == [token.text for token in tokenizer(chunk)]
