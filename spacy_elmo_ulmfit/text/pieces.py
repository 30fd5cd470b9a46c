"""Pieces of text that are read one by one, and what was read of them."""

import re
from itertools import chain
from typing import Callable, Dict, Generic, List, Sequence, Tuple, TypeVar

import numpy
from numpy.typing import NDArray

ReadT = TypeVar("ReadT")

# What stands between white space, with the space that spaCy keeps with the word.
_PIECES = re.compile(r"\S+ ?|\s+")
# Bounds of what is remembered: characters of a piece, number of pieces.
_MAX_LENGTH, _MAX_KNOWN = 64, 2**16


def cut(text: str) -> List[str]:
    """Cut a text into pieces.

    text (str): The text.
    RETURNS (List[str]): What stands between white space, each with one space behind
        it if there is one, and the rest of the white space.
    """
    return _PIECES.findall(text)


class PieceReader(Generic[ReadT]):
    """Reads pieces of text, and remembers what it read of short ones.

    read (Callable[[str], ReadT]): Reads a piece.
    """

    def __init__(self, read: Callable[[str], ReadT]) -> None:
        self.read = read
        self._known: Dict[str, ReadT] = {}

    def __call__(self, pieces: Sequence[str]) -> List[ReadT]:
        """Read pieces.

        pieces (Sequence[str]): The pieces.
        RETURNS (List[ReadT]): What was read of each.
        """
        known = self._known
        return [known.get(piece) or self._read_new(piece) for piece in pieces]

    def _read_new(self, piece: str) -> ReadT:
        read = self.read(piece)
        if len(piece) <= _MAX_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[piece] = read
        return read


def lay_out(
    pieces: Sequence[str], words: Sequence[List[str]], places: Sequence[List[int]]
) -> Tuple[List[str], NDArray[numpy.int64]]:
    """Put the words of pieces together.

    pieces (Sequence[str]): The pieces of a text.
    words (Sequence[List[str]]): The words of each.
    places (Sequence[List[int]]): Where in its piece each word is.
    RETURNS (Tuple[List[str], NDArray]): All words, and where in the text each is.
    """
    result = list(chain.from_iterable(words))
    n_pieces = len(pieces)
    lengths = numpy.fromiter(map(len, pieces), numpy.int64, n_pieces)
    counts = numpy.fromiter(map(len, words), numpy.int64, n_pieces)
    starts = numpy.repeat(numpy.cumsum(lengths) - lengths, counts)
    offsets = numpy.fromiter(chain.from_iterable(places), numpy.int64, len(result))
    return result, starts + offsets
