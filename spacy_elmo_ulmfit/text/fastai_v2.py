"""The token rules of fastai v2: on the text, before spaCy's tokenizer of the language."""

import operator
import re
from typing import List, Tuple

from .aligned_text import AlignedText, Piece
from .language_tokenizer import ChunkRules
from .special_words import (
    BEGIN,
    CAPITALIZED,
    REPEATED_CHARACTER,
    REPEATED_WORD,
    SHOWN_SPACE,
    SPECIALS,
    UNKNOWN,
    UPPER,
)
from .text_rules import (
    MARKUP,
    join_spaces,
    mark_repeated_characters,
    replace_markup,
    separate,
)
from .word_tokenizer import WordRules

_MARKUP = (
    *MARKUP,
    ("<unk>", UNKNOWN),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    ("...", " …"),
)
_REPEATED_WORD = re.compile(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)")
_SEPARATED = re.compile(r"[/#\\]")
# Only ASCII letters count as capitals at the beginning of what stands between white space.
_CAPITALS = re.compile(r"(?P<upper>[A-Z]+[^a-z\s]*)|[A-Z][^A-Z\s]*")


def lower_case(chunk: str) -> Tuple[str, str]:
    """Lower-case what stands between white space, and announce what that loses.

    chunk (str): The characters.
    RETURNS (Tuple[str, str]): `xxup`, `xxmaj` or nothing, and the characters.
    """
    match = _CAPITALS.fullmatch(chunk)
    if match is None or len(chunk) == 1:
        return "", chunk.lower()
    return UPPER if match["upper"] else CAPITALIZED, chunk.lower()


def show_spaces(word: str) -> List[str]:
    """Make the spaces in a word of white space visible."""
    return [word.replace(" ", SHOWN_SPACE)]


def rewrite(text: AlignedText) -> None:
    """Apply the rules on a text, in their order.

    text (AlignedText): The text.
    """
    replace_markup(text, _MARKUP)
    mark_repeated_characters(text, 3, REPEATED_CHARACTER)
    _mark_repeated_words(text)
    separate(text, _SEPARATED)
    join_spaces(text)
    text.strip()
    text.prepend(f"{BEGIN} ")


def _mark_repeated_words(text: AlignedText) -> None:
    # Seen at once that there are none; a word has punctuation only the last time.
    words = text.text.split()
    if any(map(operator.eq, words, words[1:])):
        text.sub(_REPEATED_WORD, _mark_repeated_word)


def _mark_repeated_word(match: "re.Match[str]") -> List[Piece]:
    word, between, _ = match.groups()
    first, last, end = match.start(1), match.end(2), match.end(3)
    last_end = last + len(word)
    return [
        Piece(f" {REPEATED_WORD} {len(between.split()) + 2} ", first, first),
        Piece(word, last, last_end),
        Piece(" ", last_end - 1, last_end),
        Piece(match[3], last_end, end),
    ]


V2_RULES = WordRules(
    kind="v2",
    specials=SPECIALS,
    unknown=UNKNOWN,
    whole=SPECIALS,
    rewrite=rewrite,
    chunks=ChunkRules(lower_case, show_spaces),
)
