import copy
import pickle

import pytest
import spacy
from hypothesis import given
from hypothesis import strategies as st
from spacy.tokens import Doc

from spacy_elmo_ulmfit.text import create_lm_tokenizer

from ..util import make_doc

ENGLISH = spacy.blank("en")
READ = create_lm_tokenizer("v2", "en")


def words_of(text):
    found = READ(ENGLISH.make_doc(text))
    assert found.words[0] == "xxbos" and found.owners[0] == -1
    return found.words[1:]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Hello", "xxmaj hello"),
        ("HELLO", "xxup hello"),
        ("I saw iPhones", "i saw iphones"),
        ("A.", "xxup a."),
        # Only ASCII letters are capitals at the beginning of a word.
        ("Émile ÉMILE", "émile émile"),
        ("Eßt EÉ", "xxmaj eßt xxup eé"),
        # What stands between white space is one word for the rules of capitals.
        ("Hello,World.", "hello , world ."),
        ('"Hello" (Hello)', '" hello " ( hello )'),
        ("McDonald U.S.", "mcdonald xxup u.s ."),
        ("sooo good!!!!", "s xxrep 3 o good xxrep 4 !"),
        ("www.x.org", "xxrep 3 w .x.org"),
        ("1 @,@ 000", "1 @,@ xxrep 3 0"),
        ("well...", "well …"),
        ("wait.....", "wait … .."),
        ("😀😀😀😀", "xxrep 4 😀"),
        ("no no no no way", "xxwrep 4 no way"),
        ("No no no", "xxmaj no no no"),
        ("no no no, no", "xxwrep 3 no , no"),
        ("3 @.@ 5 well @-@ known", "3.5 well - known"),
        ("a/b#c\\d", "a / b # c \\ d"),
        ("&lt;b&gt; caf&eacute; #39; quot;", "< b > café ' '"),
        # Replaced without the one before it, as models were trained.
        ("R&amp;B", "xxup r&&b"),
        ("<unk> said", "xxunk said"),
        ("a  b", "a b"),
        ("don't", "do n't"),
        ("", ""),
        (" \n\t ", ""),
    ],
)
def test_rules(text, expected):
    assert " ".join(words_of(text)) == expected


def test_white_space_between_words_is_read_with_every_space_made_visible():
    assert words_of("one<br /><br />two") == ["one", "\n\n", "two"]
    assert words_of("one\n \n two") == ["one", "\n▁\n▁", "two"]


def test_a_letter_that_becomes_two_when_lower_cased_keeps_its_place():
    doc = make_doc(["İİ", "x"])
    found = READ(doc)
    assert found.words == ["xxbos", "i\u0307i\u0307", "x"]
    assert found.owners == [-1, 0, 1]


def test_other_languages_have_their_own_tokenizer():
    german = spacy.blank("de")
    doc = german.make_doc("Er wohnt z.B. in Köln, Übrigens.")
    found = create_lm_tokenizer("v2", "de")(doc)
    expected = "xxbos xxmaj er wohnt z.b. in xxmaj köln , übrigens ."
    assert " ".join(found.words) == expected


@pytest.mark.parametrize(
    "tokens, words, owners",
    [
        (["Hello"], ["xxmaj", "hello"], [0, 0]),
        (["do", "n't", "go"], ["do", "n't", "go"], [0, 1, 2]),
        # The Doc may be tokenised in other ways than the language model reads.
        (["a", "York-based"], "a xxmaj york - based".split(), [0, 1, 1, 1, 1]),
        (["!", "!", "!", "ok"], ["!", "!", "!", "ok"], [0, 1, 2, 3]),
        (["!!!", "ok"], ["xxrep", "3", "!", "ok"], [0, 0, 0, 1]),
        (["no"] * 4 + ["way"], ["xxwrep", "4", "no", "way"], [0, 0, 3, 4]),
        (["&", "amp", ";", "b"], ["&", "amp", ";", "b"], [0, 1, 2, 3]),
        (["a", "\n", "b"], ["a", "\n▁", "b"], [0, 1, 2]),
    ],
)
def test_owners(tokens, words, owners):
    found = READ(make_doc(tokens))
    assert found.words == ["xxbos", *words]
    assert found.owners == [-1, *owners]


def test_a_token_of_several_tokens_of_the_document_belongs_to_the_last():
    words = ["R", "&", "#", "38", ";", "B", ".", ".", "."]
    doc = Doc(ENGLISH.vocab, words, spaces=[False] * 5 + [True] + [False] * 3)
    found = READ(doc)
    assert found.words == ["xxbos", "xxup", "r&b", "…"]
    assert found.owners == [-1, 0, 5, 8]


def test_an_empty_document_is_its_beginning():
    assert READ(make_doc([])) == (["xxbos"], [-1])


TEXTS = st.text() | st.lists(
    st.sampled_from(
        [*"aAİΣ.!&#\\/ \n\t▁", "no ", "No ", "...", " @-@ ", "amp;", "<br />", "<unk>"]
        + ["www", "McDonald ", "U.S.", "http://x.org/A", "😀😀😀", "xxmaj ", "don't"]
    )
).map("".join)


@given(TEXTS)
def test_every_position_belongs_to_a_token_in_the_order_of_the_text(text):
    doc = ENGLISH.make_doc(text)
    check_owners(doc)


@given(st.lists(st.text(min_size=1, max_size=6) | st.sampled_from(["no", "!", "..."])))
def test_owners_of_documents_that_others_tokenised(words):
    check_owners(make_doc(words))


def check_owners(doc):
    found = READ(doc)
    assert len(found.words) == len(found.owners)
    assert found.owners[0] == -1 and found.owners == sorted(found.owners)
    assert set(found.owners[1:]) <= set(range(len(doc)))
    assert "" not in found.words and not any(" " in word for word in found.words)
    assert READ.words(doc) == found.words


@given(
    st.lists(st.sampled_from(["Hello", "WORLD", "a", "d'or", ",", "x.", "B-C", "é"]))
)
def test_every_token_that_no_rule_swallows_is_read(words):
    words = [word for i, word in enumerate(words) if word not in words[i - 2 : i]]
    doc = make_doc(words)
    assert set(READ(doc).owners[1:]) == set(range(len(doc)))


def test_text_is_read_in_the_same_way_in_training_and_in_prediction():
    text = "One<br /> <br />TWO\n three\n four"
    by_pipe = [READ(doc) for doc in ENGLISH.pipe([text, text])]
    assert by_pipe == [READ(ENGLISH(text))] * 2
    words = text.split(" ")
    others = Doc(ENGLISH.vocab, words, spaces=[True] * (len(words) - 1) + [False])
    assert READ(others).words == by_pipe[0].words


@pytest.mark.parametrize("text", ["a" * 1_000_000, "ab" * 20_000, "No no " * 10_000])
def test_very_long_texts(text):
    check_owners(make_doc(text.split()))


def test_a_copy_reads_the_same_text():
    doc = ENGLISH.make_doc("Hello,World. WAIT...")
    expected = READ(doc)
    assert copy.deepcopy(READ)(doc) == expected
    assert pickle.loads(pickle.dumps(READ))(doc) == expected
