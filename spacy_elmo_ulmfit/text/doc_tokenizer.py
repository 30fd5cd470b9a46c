"""Rules for an AWD-LSTM on the tokens of the `Doc` themselves."""

import re
from itertools import groupby
from typing import Any, Dict, Iterator, List, Sequence, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .lm_tokens import LMTokens
from .markers import Markers
from .special_words import (
    BEGIN,
    CAPITALIZED,
    REPEATED_CHARACTER,
    REPEATED_WORD,
    SPECIALS,
    UNKNOWN,
    UPPER,
)

_REPEATED = re.compile(r"(\S)(\1{2,})")
_MIN_REPEATED_WORDS = 3


class DocTokenizer:
    """The rules of fastai v2, applied to the tokens of the `Doc` themselves.

    For text that was tokenised by others, and for speed: nothing is tokenised twice.
    """

    kind = "doc"
    specials: Tuple[str, ...] = SPECIALS
    unknown = UNKNOWN
    markers = Markers()

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`; white space tokens are left out."""
        words, owners = [BEGIN], [-1]
        for owner, word in _read_words(doc):
            words.append(word)
            owners.append(owner)
        return LMTokens(words, owners)

    def words(self, doc: Doc) -> List[str]:
        """See `LMTokenizer.words`."""
        return self(doc).words

    def decode(self, words: Sequence[str]) -> str:
        """See `LMTokenizer.decode`."""
        return " ".join(self.markers.restore(words))

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}


def _read_words(doc: Doc) -> Iterator[Tuple[int, str]]:
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
