"""The token rules of fastai 0.7 and of ULMFiT's own scripts."""

import re
from typing import List

from .aligned_text import AlignedText, Piece
from .fastai_v1 import keep
from .language_tokenizer import ChunkRules
from .markers import Markers
from .text_rules import (
    MARKUP,
    join_spaces,
    mark_repeated_characters,
    mark_repeated_phrases,
    replace_markup,
    separate,
)
from .word_tokenizer import WordRules

UNKNOWN, PADDING = "_unk_", "_pad_"
# What stands for a word that the text itself says is not known.
NOT_KNOWN = "u_n"
DOCUMENT, FIELD = "xbos", "xfld"
UPPER, REPEATED_CHARACTER, REPEATED_WORD = "t_up", "tk_rep", "tk_wrep"
# Every document begins with its first field.
BEGIN = f"\n{DOCUMENT} {FIELD} 1 "

_MARKUP = (
    *MARKUP,
    ("<unk>", NOT_KNOWN),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    ("\\", " \\ "),
)
_WORDS = re.compile(r"\w+|\W+")
_MIN_UPPER = 3
_SEPARATED = re.compile(r"[/#]")
_LINE_BREAK = re.compile(r"<\s*br\s*/?>", re.IGNORECASE)


def as_is(word: str) -> List[str]:
    """Return a word of spaCy's as it is."""
    return [word]


def rewrite(text: AlignedText) -> None:
    """Apply the rules on a text, in their order.

    text (AlignedText): The text.
    """
    text.prepend(BEGIN)
    replace_markup(text, _MARKUP)
    join_spaces(text)
    mark_repeated_characters(text, 4, REPEATED_CHARACTER)
    mark_repeated_phrases(text, REPEATED_WORD)
    text.sub(_WORDS, _lower_case)
    separate(text, _SEPARATED)
    join_spaces(text)
    text.sub(_LINE_BREAK, _break_line)


def _lower_case(match: "re.Match[str]") -> List[Piece]:
    word = match.group()
    lowered = Piece(word.lower(), *match.span())
    if len(word) < _MIN_UPPER or not word.isupper():
        return [lowered]
    return [Piece(f" {UPPER} ", match.start(), match.start()), lowered]


def _break_line(match: "re.Match[str]") -> List[Piece]:
    return [Piece("\n", *match.span())]


V07_RULES = WordRules(
    kind="v0.7",
    specials=(UNKNOWN, PADDING),
    unknown=UNKNOWN,
    whole=("<eos>", "<bos>", "<unk>"),
    rewrite=rewrite,
    chunks=ChunkRules(keep, as_is),
    markers=Markers(
        unknown=(UNKNOWN, NOT_KNOWN),
        silent=(PADDING, FIELD),
        ends=(DOCUMENT,),
        upper=UPPER,
        # Capitals are lost.
        capitalized="",
        repeated_character=REPEATED_CHARACTER,
        repeated_word=REPEATED_WORD,
    ),
)
