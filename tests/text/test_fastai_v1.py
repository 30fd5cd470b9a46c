import pickle

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import create_lm_tokenizer

from ..util import make_doc

NLP = spacy.blank("en")
V1 = create_lm_tokenizer("v1", "en")
V07 = create_lm_tokenizer("v0.7", "en")


# Checked against fastai 1.0.61's own functions.
@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello world", "xxmaj hello world"),
        ("WOW that is NEW", "xxup wow that is xxup new"),
        ("iPhone I a", "iphone i a"),
        # Unlike in version 2, letters of all alphabets have capitals.
        ("Émile", "xxmaj émile"),
        # Capitals are those of spaCy's words, not of what is between spaces.
        ("Hello,World yes-Sir", "xxmaj hello , xxmaj world yes - xxmaj sir"),
        # Three times is no repetition yet.
        ("sooo good", "sooo good"),
        ("soooo good", "s xxrep 4 o good"),
        ("no no no no no way", "xxwrep 5 no way"),
        ("no no no no way", "xxwrep 4 no way"),
        ("no no no way", "no no no way"),
        ("1 @,@ 000 @.@ 5 x @-@ y", "1,000.5 x - y"),
        ("a/b #tag", "a / b # tag"),
        ("back\\slash", "back \\ slash"),
        # Markup is replaced string by string: what is left of it is kept.
        ("it&#39;s &amp; that", "it & 's & & that"),
        (" one", "one"),
        ("<unk> word", "xxunk word"),
        ("wait...", "wait ..."),
    ],
)
def test_rules_are_those_of_fastai_1(text, expected):
    words = V1(NLP(text)).words
    assert words[0] == "xxbos"
    assert words[1:] == expected.split(" ")


def test_a_line_break_is_a_token():
    assert V1(NLP("one<br />two")).words == ["xxbos", "one", "\n ", "two"]
    assert V07(NLP("one<br>two")).words[4:] == ["one", "\n", "two"]


# Worked out by hand from the rules of the paper's scripts.
@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello world", "hello world"),
        ("WOW that is NEW", "t_up wow that is t_up new"),
        # Two letters are not enough.
        ("the US, the USA", "the us , the t_up usa"),
        ("soooo good", "s tk_rep 4 o good"),
        ("no no no no no way", "tk_wrep 5 no way"),
        ("<unk> word", "u_n word"),
        ("a/b #tag", "a / b # tag"),
    ],
)
def test_rules_are_those_of_fastai_0_7(text, expected):
    words = V07(NLP(text)).words
    assert words[:4] == ["\n", "xbos", "xfld", "1"]
    assert words[4:] == expected.split(" ")


def test_each_era_begins_its_vocabulary_in_its_own_order():
    assert V1.specials[5:] == ("xxmaj", "xxup", "xxrep", "xxwrep")
    assert V07.specials == ("_unk_", "_pad_")
    assert (V1.unknown, V07.unknown) == ("xxunk", "_unk_")


@pytest.mark.parametrize("tokenizer", [V1, V07], ids=["v1", "v0.7"])
def test_markers_belong_to_the_word_that_they_announce(tokenizer):
    doc = make_doc(["The", "NEW", "soooo", "car"])
    words, owners = tokenizer(doc)
    by_owner: dict = {}
    for word, owner in zip(words, owners):
        by_owner.setdefault(owner, []).append(word)
    upper = "xxup" if tokenizer is V1 else "t_up"
    repeated = "xxrep" if tokenizer is V1 else "tk_rep"
    assert by_owner[1] == [upper, "new"]
    assert by_owner[2] == ["s", repeated, "4", "o"]
    assert by_owner[3] == ["car"]


@pytest.mark.parametrize("tokenizer", [V1, V07], ids=["v1", "v0.7"])
@given(words=st.lists(st.text(min_size=1, max_size=8), max_size=12))
def test_every_token_but_the_beginning_belongs_to_a_token_of_the_document(
    tokenizer, words
):
    doc = make_doc(words)
    found = tokenizer(doc)
    n_begin = 1 if tokenizer is V1 else 4
    assert len(found.words) == len(found.owners)
    assert tokenizer.words(doc) == found.words
    assert found.owners[:n_begin] == [-1] * n_begin
    rest = found.owners[n_begin:]
    assert rest == sorted(rest)
    assert all(0 <= owner < len(doc) for owner in rest)


@pytest.mark.parametrize("kind", ["v1", "v0.7"])
def test_a_tokenizer_survives_pickling(kind):
    tokenizer = create_lm_tokenizer(kind, "de")
    doc = spacy.blank("de")("Das ist GROSS, z.B. hier.")
    expected = tokenizer(doc)
    assert pickle.loads(pickle.dumps(tokenizer))(doc) == expected


@pytest.mark.parametrize("tokenizer", [V1, V07], ids=["v1", "v0.7"])
def test_very_many_repeated_characters_do_not_break_a_document(tokenizer):
    words = tokenizer(NLP("a" * 200_000 + " " + "ha " * 50_000)).words
    assert words[-3:-1] == (
        ["xxwrep", "50000"] if tokenizer is V1 else ["tk_wrep", "50000"]
    )
