"""The tokens of the `Doc` as they are: the words of salesforce's AWD-LSTM and of WikiText."""

from typing import Any, Dict, List, Sequence, Tuple

from spacy.tokens import Doc
from torch import Tensor

from .lm_tokens import LMTokens
from .markers import Markers

_UNKNOWN, _PADDING, _END = "<unk>", "<pad>", "<eos>"


class PlainTokenizer:
    """The `Doc`'s tokens, unchanged, with `<eos>` before them and at line breaks.

    For text that was tokenised by others, whose counts of words are to be kept: as in
    awd-lstm-lm, a line has its words and one `<eos>`. Other white space is left out.
    """

    kind = "words"
    specials: Tuple[str, ...] = (_UNKNOWN, _PADDING, _END)
    unknown = _UNKNOWN
    # Nothing but the end is told by a word of its own.
    markers = Markers(
        unknown=(_UNKNOWN,),
        silent=(_PADDING,),
        ends=(_END,),
        upper="",
        capitalized="",
        repeated_character="",
        repeated_word="",
    )

    def __call__(self, doc: Doc) -> LMTokens:
        """See `LMTokenizer`."""
        words, owners = [_END], [-1]
        for token in doc:
            read = [_END] * token.text.count("\n") if token.is_space else [token.text]
            words.extend(read)
            owners.extend([token.i] * len(read))
        return LMTokens(words, owners)

    def words(self, doc: Doc) -> List[str]:
        """See `LMTokenizer.words`."""
        return self(doc).words

    def decode(self, words: Sequence[str]) -> str:
        """See `LMTokenizer.decode`."""
        lines = " ".join(words).split(_END)
        return "\n".join(line.strip() for line in lines)

    def to_json(self) -> Dict[str, Any]:
        """See `LMTokenizer.to_json`."""
        return {"kind": self.kind}

    def tensors(self) -> Dict[str, Tensor]:
        """See `LMTokenizer.tensors`."""
        return {}
