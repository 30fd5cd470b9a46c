"""From a `Doc` to the ids that the language models read."""

from .characters import BEGIN_SENTENCE, END_SENTENCE, words_to_chars
from .sequences import token_sequences
from .token_rules import LMTokens, lm_tokens
from .vocabulary import Vocabulary

__all__ = [
    "BEGIN_SENTENCE",
    "END_SENTENCE",
    "LMTokens",
    "Vocabulary",
    "lm_tokens",
    "token_sequences",
    "words_to_chars",
]
