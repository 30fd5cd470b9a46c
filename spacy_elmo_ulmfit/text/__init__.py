"""From a `Doc` to the ids that the language models read."""

from .characters import BEGIN_SENTENCE, END_SENTENCE, words_to_chars
from .doc_tokenizer import DocTokenizer
from .indexers import (
    ByteIndexer,
    DictionaryIndexer,
    Indexer,
    WordIndexer,
    read_indexer,
)
from .lm_tokenizers import TokenRules, create_lm_tokenizer, read_lm_tokenizer
from .lm_tokens import LMTokenizer, LMTokens
from .sentence_pieces import SentencePieceTokenizer
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
    "SentencePieceTokenizer",
    "TokenRules",
    "Vocabulary",
    "WordIndexer",
    "create_lm_tokenizer",
    "read_indexer",
    "read_lm_tokenizer",
    "token_sequences",
    "words_to_chars",
]
