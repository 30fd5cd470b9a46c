"""Text that is rewritten step by step and knows where each character came from."""

import re
from typing import Callable, Iterable, List, NamedTuple

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


class AlignedText:
    """A text under rewriting, each character with its place in the original.

    text (str): The text.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.origins: NDArray[numpy.int64] = numpy.arange(len(text))

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
        self._write(
            (match.start(), match.end(), pieces(match))
            for match in pattern.finditer(self.text)
        )

    def replace(self, old: str, new: str) -> None:
        """Replace a string wherever it occurs.

        old (str): The string.
        new (str): What is written in its place.
        """
        if old in self.text:
            self.sub(
                re.compile(re.escape(old)),
                lambda match: [Piece(new, match.start(), match.end())],
            )

    def lower(self) -> None:
        """Lower-case the text; a few letters become several characters."""
        lowered = self.text.lower()
        if len(lowered) != len(self.text):
            counts = [len(character.lower()) for character in self.text]
            self.origins = numpy.repeat(self.origins, counts)
        self.text = lowered

    def strip(self) -> None:
        """Remove white space at both ends."""
        start = len(self.text) - len(self.text.lstrip())
        self.text = self.text.strip()
        self.origins = self.origins[start : start + len(self.text)]

    def _write(self, edits: "Iterable[tuple[int, int, List[Piece]]]") -> None:
        # Stretches of the new text: where in the old one each begins, and whether
        # the place moves on with every character.
        parts: List[str] = []
        places: List[int] = []
        moves: List[bool] = []
        position = 0
        for start, end, pieces in edits:
            if start > position:
                parts.append(self.text[position:start])
                places.append(position)
                moves.append(True)
            for piece in pieces:
                n_replaced = piece.end - piece.start
                aligned = n_replaced == len(piece.text)
                last = piece.end - 1 if n_replaced else piece.start
                parts.append(piece.text)
                places.append(piece.start if aligned else last)
                moves.append(aligned)
            position = end
        if not position and not parts:
            return
        parts.append(self.text[position:])
        places.append(position)
        moves.append(True)
        lengths = numpy.asarray([len(part) for part in parts])
        starts = numpy.cumsum(lengths) - lengths
        self.text = "".join(parts)
        steps = numpy.arange(len(self.text)) - numpy.repeat(starts, lengths)
        steps *= numpy.repeat(moves, lengths)
        self.origins = self.origins[numpy.repeat(places, lengths) + steps]
