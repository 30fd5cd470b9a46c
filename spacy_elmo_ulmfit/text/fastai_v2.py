"""The token rules of fastai v2: on the text, before spaCy's tokenizer of the language."""

import operator
import re
from typing import Any, Dict, List, Optional, Tuple

import numpy
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
    REPEATED_CHARACTER,
    REPEATED_WORD,
    SPECIALS,
    UNKNOWN,
    UPPER,
)

_MARKUP = (
    *MARKUP,
    ("<unk>", UNKNOWN),
    (" @.@ ", "."),
    (" @-@ ", "-"),
    ("...", " …"),
)
_REPEATED_CHARACTER = re.compile(r"(\S)\1{2,}")
_REPEATED_WORD = re.compile(r"(?:\s|^)(\w+)\s+((?:\1\s+)+)\1(\s|\W|$)")
_SEPARATED = re.compile(r"[/#\\]")
# Only ASCII letters count as capitals at the beginning of what stands between white space.
_CAPITALS = re.compile(r"(?P<upper>[A-Z]+[^a-z\s]*)|[A-Z][^A-Z\s]*")


class V2Tokenizer:
    """The tokens of fastai v2, each with the `Doc`'s token that holds its text.

    The text is tokenised anew, whatever the tokens of the `Doc` are. White space of
    more than one space between words is a token, with `▁` for each space.

    lang (str): Code of the language.
    version (Optional[str]): The spaCy version whose tokenizer a model was trained
        with; by default the installed one.
    """

    kind = "v2"
    specials: Tuple[str, ...] = SPECIALS
    unknown = UNKNOWN

    def __init__(self, lang: str, version: Optional[str] = None) -> None:
        rules = ChunkRules(lower_case, show_spaces)
        self.split = LanguageTokenizer(lang, SPECIALS, rules, version)

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = AlignedText(doc.text)
        rewrite(text)
        words, places = self.split(text.text)
        owners = find_owners(doc, text.origins[places])
        return LMTokens([BEGIN, *words], [-1, *owners])

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind, **self.split.to_json()}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}


def rewrite(text: AlignedText) -> None:
    """Apply the rules that look beyond white space to a text, in their order.

    text (AlignedText): The text.
    """
    replace_markup(text, _MARKUP)
    if _has_repeated_character(text.text):
        text.sub(_REPEATED_CHARACTER, mark_repeated_character(REPEATED_CHARACTER))
    if _has_repeated_word(text.text):
        text.sub(_REPEATED_WORD, _mark_repeated_word)
    text.sub(_SEPARATED, separate)
    remove_spaces(text)
    text.strip()


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
    """Make the spaces in a word visible."""
    return [word.replace(" ", "▁")]


def _has_repeated_character(text: str) -> bool:
    codes = numpy.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    same = codes[1:] == codes[:-1]
    return bool((same[1:] & same[:-1]).any())


def _has_repeated_word(text: str) -> bool:
    # A word may be followed by punctuation the last time.
    words = text.split()
    return any(map(operator.eq, words, words[1:]))


def _mark_repeated_word(match: "re.Match[str]") -> List[Piece]:
    word, between, _ = match.groups()
    first, (last, end) = match.start(1), (match.end(2), match.end(3))
    last_end = last + len(word)
    return [
        Piece(f" {REPEATED_WORD} {len(between.split()) + 2} ", first, first),
        Piece(word, last, last_end),
        Piece(" ", last_end - 1, last_end),
        Piece(match[3], last_end, end),
    ]
