"""Rules on text that the eras of fastai have in common; each era combines them its way."""

import html
import re
from functools import partial
from typing import Callable, Iterable, List, Tuple

from .aligned_text import AlignedText, Piece

# Replaced one after the other, so the order matters.
MARKUP: Tuple[Tuple[str, str], ...] = (
    ("#39;", "'"),
    ("amp;", "&"),
    ("#146;", "'"),
    ("nbsp;", " "),
    ("#36;", "$"),
    ("\\n", "\n"),
    ("quot;", "'"),
    ("<br />", "\n"),
    ('\\"', '"'),
)
_CHARACTER_REFERENCE = re.compile(
    r"&(?:#[0-9]+;?|#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)"
)
_SPACES = re.compile(" {2,}")


def replace_markup(text: AlignedText, pairs: Iterable[Tuple[str, str]]) -> None:
    """Replace what is left of markup, then HTML's character references.

    text (AlignedText): The text.
    pairs (Iterable[Tuple[str, str]]): Strings, and what is written in their places.
    """
    for old, new in pairs:
        text.replace(old, new)
    if "&" in text.text:
        text.sub(_CHARACTER_REFERENCE, _unescape)


def remove_spaces(text: AlignedText) -> None:
    """Write one space where there are several."""
    if "  " in text.text:
        text.sub(_SPACES, lambda match: [Piece(" ", *match.span())])


def separate(match: "re.Match[str]") -> List[Piece]:
    """Write a character between spaces."""
    start, end = match.span()
    return [
        Piece(" ", start, start),
        Piece(match.group(), start, end),
        Piece(" ", end - 1, end),
    ]


def mark_repeated_character(
    marker: str,
) -> Callable[["re.Match[str]"], List[Piece]]:
    """Return a rewriting of a character that is repeated: marker, number, character.

    marker (str): Such as `xxrep`.
    RETURNS (Callable): Takes a match whose first group is the character.
    """
    return partial(_mark_repeated_character, marker)


def _mark_repeated_character(marker: str, match: "re.Match[str]") -> List[Piece]:
    start, end = match.span()
    return [
        Piece(f" {marker} {end - start} ", start, start),
        Piece(match[1], end - 1, end),
        Piece(" ", end - 1, end),
    ]


def _unescape(match: "re.Match[str]") -> List[Piece]:
    return [Piece(html.unescape(match.group()), *match.span())]
