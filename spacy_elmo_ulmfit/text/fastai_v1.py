"""The token rules of fastai 1.0: capitals are told of after spaCy's tokenizer."""

import re
from typing import List, Tuple

from .aligned_text import AlignedText
from .language_tokenizer import ChunkRules
from .special_words import (
    BEGIN,
    CAPITALIZED,
    END,
    FIELD,
    PADDING,
    REPEATED_CHARACTER,
    REPEATED_WORD,
    UNKNOWN,
    UPPER,
)
from .text_rules import (
    MARKUP,
    join_spaces,
    mark_repeated_characters,
    mark_repeated_phrases,
    replace_markup,
    separate,
)
from .word_tokenizer import WordRules

# In the order of fastai 1.0.
SPECIALS = (
    UNKNOWN, PADDING, BEGIN, END, FIELD,
    CAPITALIZED, UPPER, REPEATED_CHARACTER, REPEATED_WORD,
)  # fmt: skip

_MARKUP = (
    *MARKUP,
    ("<unk>", UNKNOWN),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    ("\\", " \\ "),
)
_SEPARATED = re.compile(r"[/#\n]")


def rewrite(text: AlignedText) -> None:
    """Apply the rules on a text, in their order.

    text (AlignedText): The text.
    """
    replace_markup(text, _MARKUP)
    join_spaces(text)
    mark_repeated_characters(text, 4, REPEATED_CHARACTER)
    mark_repeated_phrases(text, REPEATED_WORD)
    separate(text, _SEPARATED)
    join_spaces(text)


def mark_capitals(word: str) -> List[str]:
    """Lower-case a word, after markers that tell what that loses.

    word (str): The word.
    RETURNS (List[str]): Markers and the word; capitals are those of Unicode.
    """
    markers = []
    if len(word) > 1 and word.isupper():
        markers.append(UPPER)
        word = word.lower()
    # A few capitals, as mathematical ones, have no lower case and are told of twice.
    if len(word) > 1 and word[0].isupper() and word[1:].islower():
        markers.append(CAPITALIZED)
    return [*markers, word.lower()]


def keep(chunk: str) -> Tuple[str, str]:
    """Return what stands between white space as it is."""
    return "", chunk


def rewrite_document(text: AlignedText) -> None:
    """Apply the rules on a text, after what every document begins with.

    text (AlignedText): The text.
    """
    text.prepend(f"{BEGIN} ")
    rewrite(text)


V1_RULES = WordRules(
    kind="v1",
    specials=SPECIALS,
    unknown=UNKNOWN,
    whole=SPECIALS,
    rewrite=rewrite_document,
    chunks=ChunkRules(keep, mark_capitals),
)
