"""The token rules of fastai before version 2: 1.x, and 0.7 with the paper's scripts.

Both repeat a character or a word from four times on. They differ in how they tell of
capitals: 1.x by spaCy's words, 0.7 by the letters of the text.
"""

import re
from functools import partial
from typing import Any, Dict, List, Optional, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .aligned_text import AlignedText, Piece
from .language_tokenizer import ChunkRules, LanguageTokenizer
from .lm_tokens import LMTokens, find_owners
from .text_rules import (
    MARKUP,
    mark_repeated_character,
    remove_spaces,
    replace_markup,
    separate,
)
from .token_rules import (
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

_V1_MARKUP = (
    *MARKUP,
    ("<unk>", UNKNOWN),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    (" @,@ ", ","),
    ("\\", " \\ "),
)
_V07_MARKUP = (
    *MARKUP,
    ("<unk>", "u_n"),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    ("\\", " \\ "),
)
_REPEATED_CHARACTER = re.compile(r"(\S)\1{3,}")
_REPEATED_WORD = re.compile(r"(\b\w+\W+)(\1{3,})")
_V1_SEPARATED = re.compile(r"[/#\n]")
_V07_SEPARATED = re.compile(r"[/#]")
_FIRST_SPACE = re.compile(r"\A +")
_BREAK = re.compile(r"<\s*br\s*/?>", re.IGNORECASE)
# In 0.7 two capitals alone are not announced.
_WORD = re.compile(r"\w{3,}|\W{3,}")
_V07_UPPER = "t_up"
# The scripts of the paper begin every document by these.
_V07_BEGIN = ("\n", "xbos", "xfld", "1")


class V1Tokenizer:
    """The tokens of fastai 1.x, each with the `Doc`'s token that holds its text.

    lang (str): Code of the language.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    kind = "v1"
    specials: Tuple[str, ...] = (
        UNKNOWN, PADDING, BEGIN, END, FIELD,
        CAPITALIZED, UPPER, REPEATED_CHARACTER, REPEATED_WORD,
    )  # fmt: skip
    unknown = UNKNOWN

    def __init__(self, lang: str, version: Optional[str] = None) -> None:
        rules = ChunkRules(_as_it_is, mark_capitals)
        self.split = LanguageTokenizer(lang, self.specials, rules, version)

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = AlignedText(doc.text)
        rewrite_v1(text)
        return _tokens(doc, text, self.split, (BEGIN,))

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind, **self.split.to_json()}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}


class V07Tokenizer:
    """The tokens of fastai 0.7 and of the paper's scripts, with their `Doc`'s tokens.

    Every document begins with a line break, `xbos`, `xfld` and `1`, as there.

    lang (str): Code of the language.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    kind = "v0.7"
    specials: Tuple[str, ...] = ("_unk_", "_pad_")
    unknown = "_unk_"

    def __init__(self, lang: str, version: Optional[str] = None) -> None:
        never_split = ("<eos>", "<bos>", "<unk>")
        rules = ChunkRules(_in_lower_case, _alone)
        self.split = LanguageTokenizer(lang, never_split, rules, version)

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = AlignedText(doc.text)
        rewrite_v07(text)
        return _tokens(doc, text, self.split, _V07_BEGIN)

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind, **self.split.to_json()}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}


def rewrite_v1(text: AlignedText) -> None:
    """Apply the rules of 1.x that come before spaCy's tokenizer.

    text (AlignedText): The text.
    """
    replace_markup(text, _V1_MARKUP)
    remove_spaces(text)
    text.sub(_REPEATED_CHARACTER, mark_repeated_character(REPEATED_CHARACTER))
    text.sub(_REPEATED_WORD, partial(_mark_repeated_word, REPEATED_WORD))
    text.sub(_V1_SEPARATED, separate)
    remove_spaces(text)
    _strip_start(text)


def rewrite_v07(text: AlignedText) -> None:
    """Apply the rules of 0.7 that come before spaCy's tokenizer.

    text (AlignedText): The text.
    """
    replace_markup(text, _V07_MARKUP)
    remove_spaces(text)
    text.sub(_REPEATED_CHARACTER, mark_repeated_character("tk_rep"))
    text.sub(_REPEATED_WORD, partial(_mark_repeated_word, "tk_wrep"))
    text.sub(_WORD, _mark_upper)
    text.sub(_V07_SEPARATED, separate)
    remove_spaces(text)
    text.sub(_BREAK, lambda match: [Piece("\n", *match.span())])
    _strip_start(text)


def mark_capitals(word: str) -> List[str]:
    """Lower-case a word, and announce what that loses: `xxup` or `xxmaj`."""
    lower = word.lower()
    if len(word) > 1 and word.isupper():
        return [UPPER, lower]
    if len(word) > 1 and word[0].isupper() and word[1:].islower():
        return [CAPITALIZED, lower]
    return [lower]


def _tokens(
    doc: Doc, text: AlignedText, split: LanguageTokenizer, begin: Tuple[str, ...]
) -> LMTokens:
    words, places = split(text.text)
    owners = find_owners(doc, text.origins[places])
    return LMTokens([*begin, *words], [-1] * len(begin) + owners)


def _strip_start(text: AlignedText) -> None:
    # There, the first space would have been one with that after the beginning.
    text.sub(_FIRST_SPACE, lambda match: [])


def _mark_repeated_word(marker: str, match: "re.Match[str]") -> List[Piece]:
    start, end = match.span()
    word = match[1]
    return [
        Piece(f" {marker} {len(match[2].split()) + 1} ", start, start),
        Piece(word, end - len(word), end),
        Piece(" ", end - 1, end),
    ]


def _mark_upper(match: "re.Match[str]") -> List[Piece]:
    start, end = match.span()
    word = Piece(match.group(), start, end)
    if not match.group().isupper():
        return [word]
    return [Piece(f" {_V07_UPPER} ", start, start), word]


def _as_it_is(chunk: str) -> Tuple[str, str]:
    return "", chunk


def _in_lower_case(chunk: str) -> Tuple[str, str]:
    return "", chunk.lower()


def _alone(word: str) -> List[str]:
    return [word]
