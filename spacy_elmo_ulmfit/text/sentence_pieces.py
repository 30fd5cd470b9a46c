"""Sub-words of a SentencePiece model, as MultiFiT's language models read them."""

import re
from itertools import accumulate, chain
from typing import Any, Dict, List, Sequence, Tuple

import torch
from spacy.tokens import Doc
from torch import Tensor

from .aligned_text import AlignedText, Piece
from .fastai_v1 import SPECIALS, mark_capitals, rewrite
from .lm_tokens import LMTokens, find_owners
from .markers import Markers
from .pieces import PieceReader, cut, lay_out
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
from .text_rules import separate

# SentencePiece's mark of the beginning of a word.
_MARK = "▁"
_MODEL = "sentencepiece"
# How the Moses tokenizer, whose words MultiFiT's models were trained on, writes some
# characters. Rules that follow turn them into others; the models have seen those.
_ESCAPES = (
    ("&", "&amp;"),
    ("|", "&#124;"),
    ("<", "&lt;"),
    (">", "&gt;"),
    ("'", "&apos;"),
    ('"', "&quot;"),
    ("[", "&#91;"),
    ("]", "&#93;"),
)
# What the rules that follow make of the commonest of them.
_READ_AS = (("&'", '"'), ("&&", "&"))
_HYPHEN = "-"
# The special words as they stand in a text, and as pieces.
_WRITTEN = Markers()
_MARKERS = Markers(
    unknown=(f"{_MARK}{UNKNOWN}",),
    silent=(f"{_MARK}{PADDING}", f"{_MARK}{FIELD}"),
    ends=(f"{_MARK}{BEGIN}", f"{_MARK}{END}"),
    upper=f"{_MARK}{UPPER}",
    capitalized=f"{_MARK}{CAPITALIZED}",
    repeated_character=f"{_MARK}{REPEATED_CHARACTER}",
    repeated_word=f"{_MARK}{REPEATED_WORD}",
)
_SYMBOLS = re.compile(r"[^\w\s.,'`-]|_")


class SentencePieceTokenizer:
    """The rules of fastai 1.0 on words, then the pieces of a SentencePiece model.

    model (bytes): The SentencePiece model.
    split_words (bool): Whether words are split as the `Doc`'s tokens are, as MultiFiT
        did with Moses' tokenizer, but not at hyphens; otherwise at white space only.
    mark_fields (bool): Whether a document begins with its first field, `xxfld 1`.
    """

    kind = "spm"
    unknown = "<unk>"
    specials: Tuple[str, ...] = (*(f"{_MARK}{word}" for word in SPECIALS), unknown)
    markers = _MARKERS._replace(unknown=(unknown, *_MARKERS.unknown))

    def __init__(
        self, model: bytes, *, split_words: bool = True, mark_fields: bool = True
    ) -> None:
        self.model = model
        self.split_words, self.mark_fields = split_words, mark_fields
        self._processor: Any = None

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        text = self._rewritten(doc)
        pieces = cut(text.text)
        words, places = zip(*self._pieces(pieces))
        read, positions = lay_out(pieces, words, places)
        return LMTokens(read, find_owners(doc, text.origins[positions]))

    def words(self, doc: Doc) -> List[str]:
        """See `LMTokenizer.words`."""
        pieces = cut(self._rewritten(doc).text)
        return list(chain.from_iterable(words for words, _ in self._pieces(pieces)))

    def _rewritten(self, doc: Doc) -> AlignedText:
        if self._processor is None:
            self._build()
        text = AlignedText(doc.text)
        if self.split_words:
            _split_words(text, doc)
        text.prepend(f"{BEGIN} {FIELD} 1 " if self.mark_fields else f"{BEGIN} ")
        text.strip(" ")
        rewrite(text)
        return text

    @property
    def pieces(self) -> List[str]:
        """The pieces of the model; an error if it cannot be read."""
        if self._processor is None:
            self._build()
        n_pieces = self._processor.get_piece_size()
        return [self._processor.id_to_piece(number) for number in range(n_pieces)]

    def decode(self, words: Sequence[str]) -> str:
        """See `LMTokenizer.decode`."""
        text = "".join(words).replace(_MARK, " ")
        for old, new in _READ_AS:
            text = text.replace(old, new)
        return " ".join(_WRITTEN.restore(text.split()))

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {
            "kind": self.kind,
            "split_words": self.split_words,
            "mark_fields": self.mark_fields,
        }

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`; the model is one of bytes."""
        return {_MODEL: torch.frombuffer(bytearray(self.model), dtype=torch.uint8)}

    @classmethod
    def from_json(
        cls, data: Dict[str, Any], tensors: Dict[str, Tensor]
    ) -> "SentencePieceTokenizer":
        """Build a tokenizer from what was stored with the weights.

        data (Dict[str, Any]): What `to_json` returned.
        tensors (Dict[str, Tensor]): What `tensors` returned.
        RETURNS (SentencePieceTokenizer): The tokenizer.
        RAISES (ValueError): If there is no SentencePiece model.
        """
        if _MODEL not in tensors:
            raise ValueError(
                f"The token rules {cls.kind!r} need the SentencePiece model that the "
                "language model was trained with, and there is none with these weights."
            )
        settings = {
            name: data[name] for name in ("split_words", "mark_fields") if name in data
        }
        return cls(tensors[_MODEL].cpu().numpy().tobytes(), **settings)

    def __getstate__(self) -> Dict[str, Any]:
        state = {**self.__dict__, "_processor": None}
        state.pop("_pieces", None)
        return state

    def _build(self) -> None:
        try:
            from sentencepiece import SentencePieceProcessor
        except ImportError as error:
            raise ValueError(
                "This language model reads text with SentencePiece, which is not "
                "installed: pip install 'spacy-elmo-ulmfit[sentencepiece]'"
            ) from error
        try:
            self._processor = SentencePieceProcessor(model_proto=self.model)
        except (RuntimeError, OSError) as error:
            raise ValueError(
                "The SentencePiece model stored with these weights is damaged. Import "
                "the weights again, with the file they were published with."
            ) from error
        self._pieces = PieceReader(self._read)

    def _read(self, text: str) -> Tuple[List[str], List[int]]:
        """Return the pieces of what stands between white space, and their ends."""
        chunk = text.strip()
        words: List[str] = []
        places: List[int] = []
        if not chunk:
            return words, places
        *markers, word = mark_capitals(chunk)
        for marker in markers:
            pieces = self._processor.encode(marker, out_type=str)
            words += pieces
            places += [0] * len(pieces)
        pieces = self._processor.encode(word, out_type=str)
        ends = list(accumulate(len(piece.replace(_MARK, "")) for piece in pieces))
        words += pieces
        if ends and ends[-1] == len(chunk):
            places += [max(0, end - 1) for end in ends]
        else:
            # SentencePiece has written some characters in another way.
            places += [len(chunk) - 1] * len(pieces)
        return words, places


def _split_words(text: AlignedText, doc: Doc) -> None:
    """Separate the words of a document nearly as Moses' tokenizer does."""
    places = []
    for token in doc[1:]:
        before = doc[token.i - 1]
        hyphened = _HYPHEN in (token.text, before.text)
        if not before.whitespace_ and not hyphened:
            # Moses splits don't before the apostrophe.
            places.append(token.idx + (token.lower_ == "n't"))
    text.write((place, place, [Piece(" ", place - 1, place)]) for place in places)
    separate(text, _SYMBOLS)
    for old, new in _ESCAPES:
        text.replace(old, new)
