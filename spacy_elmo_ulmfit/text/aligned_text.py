"""Text that is rewritten step by step and knows where each character came from."""

import re
from functools import partial
from typing import Callable, Iterable, List, NamedTuple, Optional, Tuple

import numpy
from numpy.typing import NDArray


class Piece(NamedTuple):
    """What is written in the place of a span of the text.

    text (str): What is written.
    start (int): First character of the span.
    end (int): End of the span. Without characters in between, the piece announces
        what comes at `start`, and belongs to it.
    """

    text: str
    start: int
    end: int


# A span of the text, and what is written there.
Edit = Tuple[int, int, List[Piece]]
Places = NDArray[numpy.int64]


class AlignedText:
    """A text under rewriting, each character with its place in the original.

    The places are computed when they are asked for: many a reader wants words alone.

    text (str): The text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._n_original = len(text)
        self._steps: List[Callable[[Places], Places]] = []

    @property
    def origins(self) -> Places:
        """The place of each character in the original text; -1 for none."""
        origins: Places = numpy.arange(self._n_original)
        for step in self._steps:
            origins = step(origins)
        return origins

    def sub(
        self,
        pattern: "re.Pattern[str]",
        pieces: Callable[["re.Match[str]"], List[Piece]],
    ) -> None:
        """Rewrite what a pattern matches.

        pattern (re.Pattern[str]): What to look for.
        pieces (Callable[[re.Match[str]], List[Piece]]): Takes a match and returns
            what to write for it, in the order of the text. A piece as long as its
            span is aligned with it character by character; the characters of any
            other one belong to the span's last.
        """
        self.write(
            (match.start(), match.end(), pieces(match))
            for match in pattern.finditer(self.text)
        )

    def replace(self, old: str, new: str) -> None:
        """Replace a string wherever it occurs.

        old (str): The string.
        new (str): What is written in its place.
        """
        if old in self.text:
            self._steps.append(partial(_replaced, self.text, old, new))
            self.text = self.text.replace(old, new)

    def prepend(self, text: str) -> None:
        """Write text in front that is not from the original; its places are -1.

        text (str): What is written.
        """
        self.text = text + self.text
        self._steps.append(partial(_prepended, len(text)))

    def strip(self, characters: Optional[str] = None) -> None:
        """Remove characters at both ends.

        characters (Optional[str]): The characters; by default white space.
        """
        start = len(self.text) - len(self.text.lstrip(characters))
        self.text = self.text.strip(characters)
        self._steps.append(partial(_cut, start, start + len(self.text)))

    def write(self, edits: Iterable[Edit]) -> None:
        """Rewrite spans of the text.

        edits (Iterable[Edit]): Start and end of each span in the order of the text,
            and what is written there; see `sub`.
        """
        edits = list(edits)
        if not edits:
            return
        parts: List[str] = []
        position = 0
        for start, end, pieces in edits:
            parts.append(self.text[position:start])
            parts += [piece.text for piece in pieces]
            position = end
        self.text = "".join([*parts, self.text[position:]])
        self._steps.append(partial(_written, edits))


def _replaced(text: str, old: str, new: str, origins: Places) -> Places:
    spans = (match.span() for match in re.finditer(re.escape(old), text))
    edits = [(start, end, [Piece(new, start, end)]) for start, end in spans]
    return _written(edits, origins)


def _prepended(length: int, origins: Places) -> Places:
    return numpy.concatenate([numpy.full(length, -1), origins])


def _cut(start: int, end: int, origins: Places) -> Places:
    return origins[start:end]


def _written(edits: List[Edit], origins: Places) -> Places:
    parts: List[Places] = []
    position = 0
    for start, end, pieces in edits:
        parts.append(origins[position:start])
        parts += [_origins_of(piece, origins) for piece in pieces]
        position = end
    return numpy.concatenate([*parts, origins[position:]])


def _origins_of(piece: Piece, origins: Places) -> Places:
    n_replaced = piece.end - piece.start
    if n_replaced == len(piece.text):
        return origins[piece.start : piece.end]
    owner = piece.end - 1 if n_replaced else piece.start
    return origins[owner : owner + 1].repeat(len(piece.text))
