"""What an AWD-LSTM reads of a document, and what turns documents into that."""

from typing import Any, Dict, List, NamedTuple, Protocol, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc
from torch import Tensor

from .markers import Markers


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
    markers (Markers): What its special words tell.
    """

    kind: str
    specials: Tuple[str, ...]
    unknown: str
    markers: Markers

    def __call__(self, doc: Doc) -> LMTokens:
        """Return the tokens of a document, in the order of the text."""

    def words(self, doc: Doc) -> List[str]:
        """Return what is read of a document without saying where it stands."""

    def decode(self, words: Sequence[str]) -> str:
        """Return the text of tokens, with what their markers tell."""

    def to_json(self) -> Dict[str, Any]:
        """Return plain values that `read_lm_tokenizer` takes."""

    def tensors(self) -> Dict[str, Tensor]:
        """Return what else it needs that is stored with the weights."""


def find_owners(doc: Doc, places: NDArray[numpy.int64]) -> List[int]:
    """Find the tokens that hold characters of a document.

    doc (Doc): The document.
    places (NDArray): Positions of characters in its text, or -1.
    RETURNS (List[int]): Indices of the tokens, or -1; white space belongs to the
        token before it.
    """
    starts = doc.to_array("IDX").astype(numpy.int64)
    return (numpy.searchsorted(starts, places, side="right") - 1).tolist()
