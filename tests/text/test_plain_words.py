import pytest

from spacy_elmo_ulmfit.text import create_lm_tokenizer, read_lm_tokenizer

from ..util import make_doc


@pytest.mark.parametrize(
    "words, expected, owners",
    [
        (["The", "HOUSE", "sooo"], ["The", "HOUSE", "sooo"], [0, 1, 2]),
        (["no", "no", "no"], ["no", "no", "no"], [0, 1, 2]),
        (["a", "\n", "b"], ["a", "<eos>", "b"], [0, 1, 2]),
        (["a", "\n\n", "b"], ["a", "<eos>", "<eos>", "b"], [0, 1, 1, 2]),
        (["a", "  ", "b"], ["a", "b"], [0, 2]),
        (["<unk>", "@-@"], ["<unk>", "@-@"], [0, 1]),
        ([], [], []),
    ],
)
def test_tokens_stay_as_they_are(words, expected, owners):
    found = create_lm_tokenizer("words", "en")(make_doc(words))
    assert found.words == ["<eos>", *expected]
    assert found.owners == [-1, *owners]


def test_a_line_has_its_words_and_one_end():
    # Counted as in the published perplexities of WikiText-2.
    lines = [["=", "Title", "="], [], ["A", "line", "."]]
    words = [word for line in lines for word in [*line, "\n"]][:-1]
    found = create_lm_tokenizer("words", "en")(make_doc(words))
    assert len(found.words) == sum(map(len, lines)) + len(lines)


def test_it_is_stored_by_its_name():
    tokenizer = create_lm_tokenizer("words", "en")
    again = read_lm_tokenizer(tokenizer.to_json(), tokenizer.tensors())
    assert again.kind == "words" and again.specials == tokenizer.specials


def test_text_of_words_has_line_breaks():
    tokenizer = create_lm_tokenizer("words", "en")
    assert tokenizer.decode("The cat . <eos> A dog".split()) == "The cat .\nA dog"
