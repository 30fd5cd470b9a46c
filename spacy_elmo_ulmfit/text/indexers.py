"""From words to the ids that a biLM reads: each published family has its own."""

from typing import Any, Dict, List, Optional, Protocol, Sequence

import numpy
from numpy.typing import NDArray

from .characters import BEGIN_SENTENCE, END_SENTENCE, words_to_chars

Ids = NDArray[numpy.int64]


class Indexer(Protocol):
    """Turns words into rows of ids from 1; 0 masks a position.

    kind (str): Name of the indexer in weight files.
    begin (str): The word that begins a sequence.
    end (str): The word that ends one.
    """

    kind: str
    begin: str
    end: str

    def encode(self, words: Sequence[str]) -> Ids:
        """Return the ids of words. *Shape:* `(n_words, n_columns)`"""

    def to_json(self) -> Dict[str, Any]:
        """Return plain values that `read_indexer` takes."""


class ByteIndexer:
    """UTF-8 bytes, as bilm-tf and AllenNLP read words.

    max_chars (int): Characters per word, the two markers included.
    """

    kind = "bytes"
    begin = BEGIN_SENTENCE
    end = END_SENTENCE

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars

    def encode(self, words: Sequence[str]) -> Ids:
        """See `Indexer.encode`; there are `max_chars` columns."""
        return words_to_chars(words, self.max_chars)

    def to_json(self) -> Dict[str, Any]:
        """See `Indexer.to_json`."""
        return {"kind": self.kind, "max_chars": self.max_chars}


class WordIndexer:
    """Whole words by their number, as bilm-tf's models without characters.

    words (Sequence[str]): The words in the order of the embedding's rows.
    unknown (str): The one of them that stands for all others.
    """

    kind = "words"
    begin = BEGIN_SENTENCE
    end = END_SENTENCE

    def __init__(self, words: Sequence[str], unknown: str) -> None:
        self.words, self.unknown = list(words), unknown
        self._ids = {word: i + 1 for i, word in enumerate(self.words)}
        missing = [w for w in (unknown, self.begin, self.end) if w not in self._ids]
        if missing:
            raise ValueError(
                f"The vocabulary of the model's input lacks {', '.join(missing)}. It "
                "must be the file that the model was trained with."
            )

    def encode(self, words: Sequence[str]) -> Ids:
        """See `Indexer.encode`; there is one column."""
        unknown = self._ids[self.unknown]
        ids = [self._ids.get(word, unknown) for word in words]
        return numpy.asarray(ids, dtype=numpy.int64).reshape(-1, 1)

    def to_json(self) -> Dict[str, Any]:
        """See `Indexer.to_json`."""
        return {"kind": self.kind, "words": self.words, "unknown": self.unknown}


class DictionaryIndexer:
    """Unicode characters by a dictionary, and words too, as ELMoForManyLangs.

    characters (Dict[str, int]): Row of each character, markers included.
    words (Optional[Dict[str, int]]): Row of each word, for models that also have
        word vectors; words are looked up as they are.
    max_chars (int): Characters per word, the two markers included.
    """

    kind = "dictionary"
    begin = "<bos>"
    end = "<eos>"
    _UNKNOWN, _PAD = "<oov>", "<pad>"
    # The published models were trained with the two markers' names swapped.
    _FIRST, _LAST = "<eow>", "<bow>"

    def __init__(
        self,
        characters: Dict[str, int],
        words: Optional[Dict[str, int]],
        max_chars: int,
    ) -> None:
        self.characters, self.words, self.max_chars = characters, words, max_chars

    @property
    def padding_character(self) -> int:
        """Id of the character that fills a word up."""
        return self.characters[self._PAD] + 1

    def encode(self, words: Sequence[str]) -> Ids:
        """See `Indexer.encode`; a word's number comes before its characters."""
        # The published code cuts a word before it looks anything up.
        words = [word[: self.max_chars - 2] for word in words]
        rows = numpy.full((len(words), self.max_chars), self.padding_character)
        for row, word in zip(rows, words):
            ids = self._characters_of(word)
            row[: len(ids)] = ids
        if self.words is None:
            return rows
        unknown = self.words.get(self._UNKNOWN, 0)
        numbers = [self.words.get(word, unknown) + 1 for word in words]
        return numpy.column_stack([numpy.asarray(numbers, dtype=numpy.int64), rows])

    def _characters_of(self, word: str) -> List[int]:
        # The sentence boundaries are one symbol, also where a text has that word.
        symbols = [word] if word in (self.begin, self.end) else list(word)
        symbols = [self._FIRST, *symbols, self._LAST]
        unknown = self.characters[self._UNKNOWN]
        return [self.characters.get(symbol, unknown) + 1 for symbol in symbols]

    def to_json(self) -> Dict[str, Any]:
        """See `Indexer.to_json`."""
        return {
            "kind": self.kind,
            "characters": self.characters,
            "words": self.words,
            "max_chars": self.max_chars,
        }


def read_indexer(data: Dict[str, Any]) -> Indexer:
    """Build an indexer from what `to_json` returned."""
    kinds = (ByteIndexer, WordIndexer, DictionaryIndexer)
    settings = {name: value for name, value in data.items() if name != "kind"}
    for kind in kinds:
        if kind.kind == data["kind"]:
            return kind(**settings)
    raise ValueError(
        f"Unknown kind of indexer {data['kind']!r}; this version reads "
        f"{[kind.kind for kind in kinds]}."
    )
