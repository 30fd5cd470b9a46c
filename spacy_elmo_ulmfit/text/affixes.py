"""The words that a spaCy tokenizer makes of text without white space, without a `Doc`.

A `Doc` and entries of the vocabulary are most of what a tokenizer costs for a word that
it has not seen before, and a language model has no use for them.
"""

from typing import AbstractSet, Any, Dict, List, Optional, Tuple

from spacy.symbols import ORTH
from spacy.tokenizer import Tokenizer

# Bounds of what is remembered: characters of a piece of text, number of pieces.
_MAX_LENGTH, _MAX_KNOWN = 64, 2**16


class AffixSplitter:
    """Splits as `Tokenizer` does: special cases, prefixes, suffixes, URLs, infixes.

    What is left between affixes is remembered, so that a word with a comma behind it is
    as good as known where the word is.

    tokenizer (Tokenizer): The tokenizer.
    pairs (AbstractSet[Tuple[str, str]]): Neighbouring words that may be part of a special
        case which other rules split; the tokenizer itself is asked where they occur.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        pairs: AbstractSet[Tuple[Optional[str], Optional[str]]],
    ) -> None:
        self.tokenizer, self.pairs = tokenizer, pairs
        self._specials: Dict[str, List[str]] = {
            text: [word[ORTH] for word in words]
            for text, words in tokenizer.rules.items()
        }
        self._is_whole: Any = tokenizer.token_match or _nothing
        self._is_url: Any = tokenizer.url_match or _nothing
        self._prefix: Any = tokenizer.prefix_search or _nothing
        self._suffix: Any = tokenizer.suffix_search or _nothing
        self._infixes: Any = tokenizer.infix_finditer or _none
        self._known: Dict[str, List[str]] = {}

    def __call__(self, text: str) -> List[str]:
        """Split text without white space.

        text (str): The text, at least one character.
        RETURNS (List[str]): Its words, which are the text when they are joined; not to
            be changed.
        """
        words = self._specials.get(text) or self._known.get(text)
        if words is not None:
            return words
        words = self._split(text)
        if self._may_be_special(words):
            # Not remembered: it may be another beside affixes.
            return [token.text for token in self.tokenizer(text)]
        return self._remember(text, words)

    def _split(self, text: str) -> List[str]:
        """See `Tokenizer._split_affixes`; `text` is no special case."""
        prefixes: List[str] = []
        suffixes: List[str] = []
        specials, known = self._specials, self._known
        while text and text not in known and not self._is_whole(text):
            n_prefix = _length(self._prefix(text))
            if n_prefix and text[n_prefix:] in specials:
                prefixes.append(text[:n_prefix])
                text = text[n_prefix:]
                break
            n_suffix = _length(self._suffix(text[n_prefix:]))
            end = len(text) - n_suffix
            if n_suffix and text[:end] in specials:
                suffixes.append(text[end:])
                text = text[:end]
                break
            if not n_prefix and not n_suffix:
                break
            if n_prefix:
                prefixes.append(text[:n_prefix])
            if n_suffix and n_prefix <= end:
                suffixes.append(text[end:])
                text = text[:end]
            text = text[n_prefix:]
            if text in specials:
                break
        return [*prefixes, *self._split_middle(text), *reversed(suffixes)]

    def _split_middle(self, text: str) -> List[str]:
        """See `Tokenizer._attach_tokens`; `text` has no affixes, or is known."""
        if not text:
            return []
        words = self._specials.get(text) or self._known.get(text)
        if words is not None:
            return words
        if self._is_whole(text) or self._is_url(text):
            words = [text]
        else:
            words = _split_at(text, self._infixes(text))
        return words if self._may_be_special(words) else self._remember(text, words)

    def _may_be_special(self, words: List[str]) -> bool:
        if len(words) == 1:
            return False
        return not self.pairs.isdisjoint(zip(words, words[1:])) or any(
            len(self._specials[word]) > 1 for word in words if word in self._specials
        )

    def _remember(self, text: str, words: List[str]) -> List[str]:
        if len(text) <= _MAX_LENGTH:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[text] = words
        return words


def _split_at(text: str, infixes: Any) -> List[str]:
    words: List[str] = []
    start = 0
    for match in infixes:
        first, last = match.span()
        if first:
            words += [text[start:first], text[first:last]]
            start = last
    words.append(text[start:])
    return [word for word in words if word]


def _length(match: Any) -> int:
    return 0 if match is None else match.end() - match.start()


def _nothing(text: str) -> None:
    """Find nothing, as a tokenizer without such a rule."""


def _none(text: str) -> Tuple[()]:
    """Find nothing, several times."""
    return ()
