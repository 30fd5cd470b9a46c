"""Rules on text that the versions of fastai share, or have in variants."""

import html
import re
from typing import Iterable, List, Tuple

import numpy

from .aligned_text import AlignedText, Piece

# What every version replaces, one after the other, so the order matters.
MARKUP = (
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
_REPEATED_PHRASE = re.compile(r"(\b\w+\W+)(\1{3,})")


def replace_markup(text: AlignedText, replacements: Iterable[Tuple[str, str]]) -> None:
    """Replace remains of markup, then HTML's character references.

    text (AlignedText): The text.
    replacements (Iterable[Tuple[str, str]]): What to replace, and by what.
    """
    for old, new in replacements:
        text.replace(old, new)
    if "&" in text.text:
        text.sub(_CHARACTER_REFERENCE, _unescape)


def _unescape(match: "re.Match[str]") -> List[Piece]:
    return [Piece(html.unescape(match.group()), *match.span())]


def mark_repeated_characters(text: AlignedText, at_least: int, marker: str) -> None:
    """Write a repeated character once, after a marker and the number.

    text (AlignedText): The text.
    at_least (int): Fewest repetitions, 3 or more.
    marker (str): The marker.
    """
    codes = numpy.frombuffer(
        text.text.encode("utf-32-le", "surrogatepass"), dtype=numpy.dtype("<u4")
    )
    same = codes[1:] == codes[:-1]
    # Nearly all texts end here, and a regular expression is slow to see it.
    if not (same[1:] & same[:-1]).any():
        return

    def mark(match: "re.Match[str]") -> List[Piece]:
        start, end = match.span()
        return [
            Piece(f" {marker} {end - start} ", start, start),
            Piece(match[1], end - 1, end),
            Piece(" ", end - 1, end),
        ]

    text.sub(re.compile(rf"(\S)\1{{{at_least - 1},}}"), mark)


def mark_repeated_phrases(text: AlignedText, marker: str) -> None:
    """Write a word that stands four times or more once, after a marker and the number.

    What separates the words is part of what is repeated.

    text (AlignedText): The text.
    marker (str): The marker.
    """

    def mark(match: "re.Match[str]") -> List[Piece]:
        phrase, others = match.groups()
        start, end = match.span()
        return [
            Piece(f" {marker} {len(others.split()) + 1} ", start, start),
            Piece(phrase, end - len(phrase), end),
            Piece(" ", end - 1, end),
        ]

    text.sub(_REPEATED_PHRASE, mark)


def separate(text: AlignedText, pattern: "re.Pattern[str]") -> None:
    """Write a space on both sides of characters.

    text (AlignedText): The text.
    pattern (re.Pattern[str]): The characters.
    """
    text.sub(pattern, _separate)


def _separate(match: "re.Match[str]") -> List[Piece]:
    start, end = match.span()
    return [
        Piece(" ", start, start),
        Piece(match.group(), start, end),
        Piece(" ", end - 1, end),
    ]


def join_spaces(text: AlignedText) -> None:
    """Write one space for several."""
    if "  " in text.text:
        text.sub(_SPACES, _one_space)


def _one_space(match: "re.Match[str]") -> List[Piece]:
    return [Piece(" ", *match.span())]
