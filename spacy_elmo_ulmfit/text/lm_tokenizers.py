"""How an AWD-LSTM reads a document: each published era has rules of its own."""

from typing import Any, Dict, List, NamedTuple, Optional, Protocol, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .token_rules import BEGIN, SPECIALS, UNKNOWN, read_words


class LMTokens(NamedTuple):
    """A document as an AWD-LSTM reads it.

    words (List[str]): The tokens.
    owners (List[int]): For each of them the index of the `Doc`'s token it belongs
        to; -1 for the one that marks the document's edge, such as `xxbos`.
    """

    words: List[str]
    owners: List[int]

    def reversed(self) -> "LMTokens":
        """Return the same tokens as a backward model reads them, the last one first."""
        return LMTokens(self.words[::-1], self.owners[::-1])


class LMTokenizer(Protocol):
    """Turns documents into tokens of a language model.

    kind (str): Name of the rules in configs and weight files.
    specials (Tuple[str, ...]): The words that a new vocabulary begins with.
    unknown (str): The one of them that stands for all words outside the vocabulary.
    """

    kind: str
    specials: Tuple[str, ...]
    unknown: str

    def __call__(self, doc: Doc) -> LMTokens:
        """Return the tokens of a document, in the order of the text."""

    def to_json(self) -> Dict[str, Any]:
        """Return plain values that `read_lm_tokenizer` takes."""

    def tensors(self) -> Dict[str, Tensor]:
        """Return what else it needs that is stored with the weights."""


class DocTokenizer:
    """The rules of fastai v2, applied to the tokens of the `Doc` themselves.

    For text that was tokenised by others, and for speed: nothing is tokenised twice.
    """

    kind = "doc"
    specials: Tuple[str, ...] = SPECIALS
    unknown = UNKNOWN

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`; white space tokens are left out."""
        words, owners = [BEGIN], [-1]
        for owner, word in read_words(doc):
            words.append(word)
            owners.append(owner)
        return LMTokens(words, owners)

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}


def create_lm_tokenizer(kind: str, lang: str) -> LMTokenizer:
    """Build the tokenizer of a new language model.

    kind (str): Name of the rules.
    lang (str): Code of the language.
    RETURNS (LMTokenizer): The tokenizer.
    RAISES (ValueError): If there are no rules of that name.
    """
    return read_lm_tokenizer({"kind": kind, "lang": lang}, {})


def read_lm_tokenizer(
    data: Optional[Dict[str, Any]], tensors: Dict[str, Tensor]
) -> LMTokenizer:
    """Build a tokenizer from what was stored with the weights.

    data (Optional[Dict[str, Any]]): What `to_json` returned; `None` in files that
        were written before there was a choice.
    tensors (Dict[str, Tensor]): What `tensors` returned.
    RETURNS (LMTokenizer): The tokenizer.
    RAISES (ValueError): If there are no rules of that name.
    """
    kind = DocTokenizer.kind if data is None else data["kind"]
    if kind == DocTokenizer.kind:
        return DocTokenizer()
    raise ValueError(
        f"There are no token rules {kind!r}; this version has {[DocTokenizer.kind]}."
    )
