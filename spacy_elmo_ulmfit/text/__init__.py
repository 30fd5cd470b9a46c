"""From a `Doc` to the ids that the language models read."""

from .characters import BEGIN_SENTENCE, END_SENTENCE, words_to_chars
from .indexers import (
    ByteIndexer,
    DictionaryIndexer,
    Indexer,
    WordIndexer,
    read_indexer,
)
from .sequences import token_sequences
from .token_rules import LMTokens, lm_tokens
from .vocabulary import Vocabulary

__all__ = [
    "BEGIN_SENTENCE",
    "END_SENTENCE",
    "ByteIndexer",
    "DictionaryIndexer",
    "Indexer",
    "LMTokens",
    "Vocabulary",
    "WordIndexer",
    "lm_tokens",
    "read_indexer",
    "token_sequences",
    "words_to_chars",
]
