"""How an AWD-LSTM reads a document: each published era has rules of its own."""

from typing import Any, Dict, Literal, Optional, get_args

from torch import Tensor

from .doc_tokenizer import DocTokenizer
from .fastai_v07 import V07_RULES
from .fastai_v1 import V1_RULES
from .fastai_v2 import V2_RULES
from .lm_tokens import LMTokenizer
from .plain_words import PlainTokenizer
from .sentence_pieces import SentencePieceTokenizer
from .word_tokenizer import WordRules, WordTokenizer

# The rules that a config may name; the last ones are those of imported models only.
TokenRules = Literal["v2", "v1", "v0.7", "doc", "words", "spm"]

_WORD_RULES: Dict[str, WordRules] = {
    rules.kind: rules for rules in (V2_RULES, V1_RULES, V07_RULES)
}


def create_lm_tokenizer(
    kind: str, lang: str, *, sentencepiece: Optional[bytes] = None
) -> LMTokenizer:
    """Build the tokenizer of a language model that has none yet.

    kind (str): Name of the rules.
    lang (str): Code of the language.
    sentencepiece (Optional[bytes]): The SentencePiece model, for `"spm"`.
    RETURNS (LMTokenizer): The tokenizer.
    RAISES (ValueError): If there are no rules of that name, or no SentencePiece model.
    """
    if kind == SentencePieceTokenizer.kind:
        if sentencepiece is None:
            raise ValueError(
                f"The token rules {kind!r} need a SentencePiece model, which only imported "
                'weights bring. Set tokens = "v2" for a new language model.'
            )
        return SentencePieceTokenizer(sentencepiece)
    return read_lm_tokenizer({"kind": kind, "lang": lang}, {})


def read_lm_tokenizer(
    data: Optional[Dict[str, Any]], tensors: Dict[str, Tensor]
) -> LMTokenizer:
    """Build a tokenizer from what was stored with the weights.

    data (Optional[Dict[str, Any]]): What `to_json` returned; `None` in files that
        were written before there was a choice.
    tensors (Dict[str, Tensor]): What `tensors` returned.
    RETURNS (LMTokenizer): The tokenizer.
    RAISES (ValueError): If there are no rules of that name, or no SentencePiece model.
    """
    kind = DocTokenizer.kind if data is None else data["kind"]
    if data is None or kind == DocTokenizer.kind:
        return DocTokenizer()
    if kind == PlainTokenizer.kind:
        return PlainTokenizer()
    if kind == SentencePieceTokenizer.kind:
        return SentencePieceTokenizer.from_json(data, tensors)
    if kind in _WORD_RULES:
        return WordTokenizer(_WORD_RULES[kind], data["lang"], data.get("spacy"))
    raise ValueError(
        f"There are no token rules {kind!r}; this version has "
        f"{', '.join(map(repr, get_args(TokenRules)))}."
    )
