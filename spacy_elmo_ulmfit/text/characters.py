"""Words to character ids, as the published biLMs read them: UTF-8 bytes."""

from typing import Iterable, List

import numpy
from numpy.typing import NDArray

from ..modules.char_cnn import PADDING_CHARACTER

# Ids as published, shifted by one so that 0 can mask a position.
BEGIN_SENTENCE_CHARACTER = 257
END_SENTENCE_CHARACTER = 258
BEGIN_WORD_CHARACTER = 259
END_WORD_CHARACTER = 260

BEGIN_SENTENCE = "<S>"
END_SENTENCE = "</S>"

_BOUNDARIES = {
    BEGIN_SENTENCE: [BEGIN_SENTENCE_CHARACTER],
    END_SENTENCE: [END_SENTENCE_CHARACTER],
}


def word_to_chars(word: str, max_chars: int) -> List[int]:
    """Return the character ids of a word, without the padding.

    word (str): The word; `<S>` and `</S>` are the sentence boundaries.
    max_chars (int): Longest result; longer words lose their last bytes.
    RETURNS (List[int]): Begin marker, bytes plus one, end marker.
    """
    middle = _BOUNDARIES.get(word)
    if middle is None:
        data = word.encode("utf-8", "ignore")[: max_chars - 2]
        middle = [byte + 1 for byte in data]
    return [BEGIN_WORD_CHARACTER, *middle, END_WORD_CHARACTER]


def words_to_chars(words: Iterable[str], max_chars: int) -> NDArray[numpy.int64]:
    """Return the character ids of words, padded.

    words (Iterable[str]): The words.
    max_chars (int): Width of the result.
    RETURNS (NDArray): Character ids. *Shape:* `(n_words, max_chars)`
    """
    encoded = [word_to_chars(word, max_chars) for word in words]
    result = numpy.full((len(encoded), max_chars), PADDING_CHARACTER, dtype=numpy.int64)
    for row, chars in zip(result, encoded):
        row[: len(chars)] = chars
    return result
