"""How an AWD-LSTM reads a document: each published era has rules of its own."""

from typing import Any, Dict, Literal, Optional, get_args

from torch import Tensor

from .doc_tokenizer import DocTokenizer
from .fastai_v2 import V2Tokenizer
from .lm_tokens import LMTokenizer

# The rules that a config may name.
TokenRules = Literal["v2", "doc"]


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
    if data is None:
        return DocTokenizer()
    kind, lang, version = data["kind"], data.get("lang", "xx"), data.get("spacy")
    if kind == DocTokenizer.kind:
        return DocTokenizer()
    if kind == V2Tokenizer.kind:
        return V2Tokenizer(lang, version)
    raise ValueError(
        f"There are no token rules {kind!r}; this version has "
        f"{', '.join(map(repr, get_args(TokenRules)))}."
    )
