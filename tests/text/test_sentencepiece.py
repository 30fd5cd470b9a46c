import io
import pickle
import sys

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_elmo_ulmfit.text import (
    SentencePieceTokenizer,
    create_lm_tokenizer,
    read_lm_tokenizer,
)

from ..util import make_doc

sentencepiece = pytest.importorskip("sentencepiece")

TEXTS = [
    "the river near the city is wide and the boats are small",
    "every boat on the river carries tea and the tea is warm",
    "a small city has a wide river and every river has boats",
    "xxmaj the naïve café is near the xxup new river",
]
NLP = spacy.blank("en")


@pytest.fixture(scope="module")
def model() -> bytes:
    output = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20),
        model_writer=output,
        vocab_size=45,
        unk_id=9,
        pad_id=-1,
        bos_id=-1,
        eos_id=-1,
        user_defined_symbols=list(SentencePieceTokenizer.specials[:-1]),
        minloglevel=2,
    )
    return output.getvalue()


@pytest.fixture(scope="module")
def tokenizer(model) -> SentencePieceTokenizer:
    return SentencePieceTokenizer(model)


def test_a_document_begins_as_multifits_do_and_capitals_are_announced(tokenizer):
    doc = NLP("The tea is NEW.")
    words, owners = tokenizer(doc)
    assert words[:2] == ["▁xxbos", "▁xxfld"]
    assert owners[words.index("▁xxmaj")] == 0
    assert owners[words.index("▁xxup")] == 3
    text = "".join(words).replace("▁", " ").split()
    assert text == [
        "xxbos",
        "xxfld",
        "1",
        "xxmaj",
        "the",
        "tea",
        "is",
        "xxup",
        "new",
        ".",
    ]


def test_pieces_belong_to_the_words_they_are_part_of(tokenizer):
    doc = NLP("the naïve riverboat café")
    words, owners = tokenizer(doc)
    spelled: dict = {}
    for word, owner in zip(words, owners):
        spelled[owner] = spelled.get(owner, "") + word.replace("▁", "")
    assert {i: spelled[i] for i in range(len(doc))} == {
        token.i: token.text for token in doc
    }
    assert spelled[-1] == "xxbosxxfld1"


def test_ids_are_those_of_the_model(tokenizer, model):
    processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    words = tokenizer(NLP("Every boat is small")).words
    assert [processor.piece_to_id(word) for word in words] == processor.encode(
        "xxbos xxfld 1 xxmaj every boat is small"
    )


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.text(min_size=1, max_size=8), max_size=8))
def test_owners_are_tokens_in_the_order_of_the_text(tokenizer, words):
    doc = make_doc(words)
    found = tokenizer(doc)
    rest = [owner for owner in found.owners if owner >= 0]
    assert len(found.words) == len(found.owners)
    assert tokenizer.words(doc) == found.words
    assert rest == sorted(rest)
    assert all(owner < len(doc) for owner in rest)


def test_documents_without_words_are_their_beginning(tokenizer):
    empty = tokenizer(make_doc([]))
    assert set(empty.owners) == {-1}
    assert tokenizer(make_doc(["\n"])).words == empty.words


def test_the_model_is_stored_with_the_weights(tokenizer):
    other = read_lm_tokenizer(tokenizer.to_json(), tokenizer.tensors())
    doc = NLP("the river is wide")
    assert other(doc) == tokenizer(doc)
    assert pickle.loads(pickle.dumps(other))(doc) == tokenizer(doc)


def test_a_new_model_cannot_read_by_pieces_it_does_not_have():
    with pytest.raises(ValueError, match=r"'spm' need a SentencePiece model.*\"v2\""):
        create_lm_tokenizer("spm", "en")


def test_a_damaged_model_is_one_sentence():
    with pytest.raises(ValueError, match="SentencePiece model .* is damaged"):
        SentencePieceTokenizer(b"no model")(NLP("the river"))


def test_without_the_package_the_error_names_the_extra(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    with pytest.raises(ValueError, match=r"spacy-elmo-ulmfit\[sentencepiece\]"):
        SentencePieceTokenizer(model)(NLP("the river"))


def test_pieces_are_a_text_again(tokenizer):
    doc = spacy.blank("en")('The "river" & Rome NATO xx no no no no')
    words = tokenizer(doc).words
    markers = tokenizer.markers
    assert words[0] in markers.ends and words[1] in markers.silent
    text = tokenizer.decode(words[words.index("▁xxmaj") :])
    assert text == 'The " river " & Rome NATO xx no no no no'
    assert markers.unknown == ("<unk>", "▁xxunk")
