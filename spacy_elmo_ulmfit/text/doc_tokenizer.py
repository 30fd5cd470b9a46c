"""Rules for an AWD-LSTM on the tokens of the `Doc` themselves."""

from typing import Any, Dict, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .lm_tokens import LMTokens
from .token_rules import BEGIN, SPECIALS, UNKNOWN, read_words


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
