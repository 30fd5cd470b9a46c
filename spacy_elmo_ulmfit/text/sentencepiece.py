"""SentencePiece's tokens, as MultiFiT's models read them (arXiv:1909.04761)."""

import re
from importlib import import_module
from itertools import accumulate, chain
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy
import torch
from numpy.typing import NDArray
from spacy.tokens import Doc
from torch import Tensor

from .aligned_text import AlignedText
from .fastai_v1 import V1Tokenizer, mark_capitals, rewrite_v1
from .lm_tokens import LMTokens, find_owners
from .token_rules import BEGIN, FIELD

MODEL_TENSOR = "sentencepiece"
_SPACE = "\u2581"
# MultiFiT's documents have one field.
_BEGIN = (BEGIN, FIELD, "1")
_NO_PLACE = numpy.asarray([-1], dtype=numpy.int64)
_WORD = re.compile(r"\S+")


class SentencePieceTokenizer:
    """Pieces of words, each with the `Doc`'s token that holds its text.

    The rules of fastai 1.x come first. They act on the words of the `Doc`, which
    stand in for those of the Moses tokenizer that MultiFiT used.

    model (bytes): A SentencePiece model, the content of `spm.model`.
    """

    kind = "spm"
    specials: Tuple[str, ...] = tuple(_SPACE + word for word in V1Tokenizer.specials)
    unknown = "<unk>"

    def __init__(self, model: bytes) -> None:
        self.model = bytes(model)
        self._processor: Any = None

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`; white space tokens are left out."""
        if self._processor is None:
            self._processor = load_processor(self.model)
        words, places = list(_BEGIN), [_NO_PLACE] * len(_BEGIN)
        for word, places_of_word in _read_words(doc):
            words.append(word)
            places.append(places_of_word)
        pieces: List[str] = []
        origins: List[int] = []
        # No piece goes beyond white space, so words are cut one by one.
        cut = self._processor.encode(words, out_type=str)
        for pieces_of_word, places_of_word in zip(cut, places):
            pieces += pieces_of_word
            origins += _ends(pieces_of_word, places_of_word)
        return LMTokens(pieces, find_owners(doc, numpy.asarray(origins)))

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {
            MODEL_TENSOR: torch.frombuffer(bytearray(self.model), dtype=torch.uint8)
        }

    def __getstate__(self) -> Dict[str, Any]:
        return {**self.__dict__, "_processor": None}


def _read_words(doc: Doc) -> Iterator[Tuple[str, NDArray[numpy.int64]]]:
    """Yield the words that are cut, each with the place of its characters in the text."""
    tokens = [token for token in doc if not token.is_space]
    text = AlignedText(" ".join(token.text for token in tokens))
    places = [range(token.idx, token.idx + len(token.text) + 1) for token in tokens]
    text.origins = numpy.asarray([*chain.from_iterable(places)], dtype=numpy.int64)
    text.origins = text.origins[: len(text.text)]
    rewrite_v1(text)
    for match in _WORD.finditer(text.text):
        origins = text.origins[match.start() : match.end()]
        *markers, word = mark_capitals(match.group())
        yield from ((marker, origins[-1:]) for marker in markers)
        yield word, origins


def _ends(pieces: List[str], places: NDArray[numpy.int64]) -> List[int]:
    """Return the place of the last character of each piece of a word."""
    lengths = [len(piece.replace(_SPACE, "")) for piece in pieces]
    # Normalised text may be longer than what it comes from.
    return [
        int(places[min(max(end, 1), len(places)) - 1]) for end in accumulate(lengths)
    ]


def load_processor(model: bytes) -> Any:
    """Load a SentencePiece model.

    model (bytes): The content of `spm.model`.
    RETURNS (SentencePieceProcessor): The model.
    RAISES (ValueError): If the package is missing, or this is no such model.
    """
    try:
        library = import_module("sentencepiece")
    except ImportError as error:
        raise ValueError(
            "These weights read SentencePiece's pieces, which needs the package "
            "sentencepiece: pip install 'spacy-elmo-ulmfit[sentencepiece]'."
        ) from error
    try:
        return library.SentencePieceProcessor(model_proto=model)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            "The SentencePiece model is damaged, or is something else. It must be the "
            "spm.model that the weights were trained with."
        ) from error


def read_model(tensors: Dict[str, Tensor]) -> Optional[bytes]:
    """Return the SentencePiece model among the tensors of a weight file, if any."""
    tensor = tensors.get(MODEL_TENSOR)
    return None if tensor is None else tensor.cpu().numpy().tobytes()
