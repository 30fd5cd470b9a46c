"""Text that is rewritten step by step and knows where each character came from."""

import re
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
            self.sub(
                re.compile(re.escape(old)),
                lambda match: [Piece(new, match.start(), match.end())],
            )

    def prepend(self, text: str) -> None:
        """Write text in front that is not from the original; its places are -1.

        text (str): What is written.
        """
        self.text = text + self.text
        self.origins = numpy.concatenate([numpy.full(len(text), -1), self.origins])

    def strip(self, characters: Optional[str] = None) -> None:
        """Remove characters at both ends.

        characters (Optional[str]): The characters; by default white space.
        """
        start = len(self.text) - len(self.text.lstrip(characters))
        self.text = self.text.strip(characters)
        self.origins = self.origins[start : start + len(self.text)]

    def write(self, edits: Iterable[Tuple[int, int, List[Piece]]]) -> None:
        """Rewrite spans of the text.

        edits (Iterable[Tuple[int, int, List[Piece]]]): Start and end of each span in
            the order of the text, and what is written there; see `sub`.
        """
        parts: List[str] = []
        origins: List[NDArray[numpy.int64]] = []
        position = 0
        for start, end, pieces in edits:
            parts.append(self.text[position:start])
            origins.append(self.origins[position:start])
            for piece in pieces:
                parts.append(piece.text)
                origins.append(self._origins_of(piece))
            position = end
        if parts:
            self.text = "".join([*parts, self.text[position:]])
            self.origins = numpy.concatenate([*origins, self.origins[position:]])

    def _origins_of(self, piece: Piece) -> NDArray[numpy.int64]:
        n_replaced = piece.end - piece.start
        if n_replaced == len(piece.text):
            return self.origins[piece.start : piece.end]
        owner = piece.end - 1 if n_replaced else piece.start
        return self.origins[owner : owner + 1].repeat(len(piece.text))
