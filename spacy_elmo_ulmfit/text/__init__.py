"""From a `Doc` to the ids that the language models read."""

from .characters import BEGIN_SENTENCE, END_SENTENCE, words_to_chars
from .indexers import (
    ByteIndexer,
    DictionaryIndexer,
    Indexer,
    WordIndexer,
    read_indexer,
)
from .lm_tokenizers import (
    DocTokenizer,
    LMTokenizer,
    LMTokens,
    create_lm_tokenizer,
    read_lm_tokenizer,
)
from .sequences import token_sequences
from .vocabulary import Vocabulary

__all__ = [
    "BEGIN_SENTENCE",
    "END_SENTENCE",
    "ByteIndexer",
    "DictionaryIndexer",
    "DocTokenizer",
    "Indexer",
    "LMTokenizer",
    "LMTokens",
    "Vocabulary",
    "WordIndexer",
    "create_lm_tokenizer",
    "read_indexer",
    "read_lm_tokenizer",
    "token_sequences",
    "words_to_chars",
]
