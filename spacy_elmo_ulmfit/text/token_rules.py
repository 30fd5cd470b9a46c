"""From spaCy's tokens to the tokens an AWD-LSTM reads.

The rules follow fastai v2's (`fastai/text/core.py`), which ULMFiT's models read: words
are lower-cased, and what that loses is told by special tokens before them. They work on spaCy's tokens, so
every token of the language model belongs to exactly one token of the `Doc`.
"""

import re
from itertools import groupby
from typing import Iterator, List, Tuple

from spacy.tokens import Doc

UNKNOWN = "xxunk"
PADDING = "xxpad"
BEGIN = "xxbos"
END = "xxeos"
FIELD = "xxfld"
REPEATED_CHARACTER = "xxrep"
REPEATED_WORD = "xxwrep"
UPPER = "xxup"
CAPITALIZED = "xxmaj"

# In the order of fastai v2; the ids of the vocabulary start with them.
SPECIALS = (
    UNKNOWN, PADDING, BEGIN, END, FIELD,
    REPEATED_CHARACTER, REPEATED_WORD, UPPER, CAPITALIZED,
)  # fmt: skip

_REPEATED = re.compile(r"(\S)(\1{2,})")
_MIN_REPEATED_WORDS = 3


def read_words(doc: Doc) -> Iterator[Tuple[int, str]]:
    """Apply the rules to the tokens of a document.

    doc (Doc): The document; white space tokens are left out.
    YIELDS (Tuple[int, str]): For each token of the language model the index of the
        token it belongs to, and its text.
    """
    tokens = ((token.i, token.text) for token in doc if not token.is_space)
    # Only equal neighbours form a group, as "no no no" does.
    for text, group in groupby(tokens, key=lambda token: token[1]):
        yield from _expand(text, [position for position, _ in group])


def _expand(text: str, positions: List[int]) -> Iterator[Tuple[int, str]]:
    """Yield the tokens of a word that stands at several positions in a row."""
    pieces = list(_split_word(text))
    if len(positions) < _MIN_REPEATED_WORDS or not text.isalpha():
        for position in positions:
            yield from ((position, piece) for piece in pieces)
        return
    # The markers belong to the first of the repeated words, the word to the last.
    yield positions[0], REPEATED_WORD
    yield positions[0], str(len(positions))
    yield from ((positions[-1], piece) for piece in pieces)


def _split_word(text: str) -> Iterator[str]:
    start = 0
    for match in _REPEATED.finditer(text):
        if match.start() > start:
            yield from _lower_case(text[start : match.start()])
        yield REPEATED_CHARACTER
        yield str(len(match.group(0)))
        yield match.group(1).lower()
        start = match.end()
    if start < len(text):
        yield from _lower_case(text[start:])


def _lower_case(text: str) -> Iterator[str]:
    if len(text) > 1 and text.isupper():
        yield UPPER
    elif len(text) > 1 and text[0].isupper() and text[1:].islower():
        yield CAPITALIZED
    yield text.lower()
