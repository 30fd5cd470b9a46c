"""How an AWD-LSTM reads a document: each published era has rules of its own."""

from typing import Any, Callable, Dict, Literal, Optional, get_args

from torch import Tensor

from .doc_tokenizer import DocTokenizer
from .fastai_v1 import V07Tokenizer, V1Tokenizer
from .fastai_v2 import V2Tokenizer
from .lm_tokens import LMTokenizer
from .sentencepiece import SentencePieceTokenizer, read_model

# The rules that a config may name.
TokenRules = Literal["v2", "v1", "v0.7", "spm", "doc"]

_BY_LANGUAGE: Dict[str, Callable[[str, Optional[str]], LMTokenizer]] = {
    V2Tokenizer.kind: V2Tokenizer,
    V1Tokenizer.kind: V1Tokenizer,
    V07Tokenizer.kind: V07Tokenizer,
}


def create_lm_tokenizer(kind: str, lang: str) -> LMTokenizer:
    """Build the tokenizer of a new language model.

    kind (str): Name of the rules.
    lang (str): Code of the language.
    RETURNS (LMTokenizer): The tokenizer.
    RAISES (ValueError): If there are no rules of that name, or they need a model.
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
    RAISES (ValueError): If there are no rules of that name, or they need a model.
    """
    kind = DocTokenizer.kind if data is None else data["kind"]
    if data is None or kind == DocTokenizer.kind:
        return DocTokenizer()
    if kind in _BY_LANGUAGE:
        return _BY_LANGUAGE[kind](data.get("lang", "xx"), data.get("spacy"))
    if kind == SentencePieceTokenizer.kind:
        return _read_sentencepiece(tensors)
    raise ValueError(
        f"There are no token rules {kind!r}; this version has "
        f"{', '.join(map(repr, get_args(TokenRules)))}."
    )


def _read_sentencepiece(tensors: Dict[str, Tensor]) -> SentencePieceTokenizer:
    model = read_model(tensors)
    if model is None:
        raise ValueError(
            f"tokens = '{SentencePieceTokenizer.kind}' needs a SentencePiece model, which "
            "comes with published weights (python -m spacy init ulmfit). A new model "
            "takes other rules, such as 'v2'."
        )
    return SentencePieceTokenizer(model)
