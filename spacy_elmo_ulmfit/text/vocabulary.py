"""The words a language model can predict (and an AWD-LSTM can read)."""

from collections import Counter
from typing import Any, Dict, Iterable, List, Mapping, Sequence

import numpy
from numpy.typing import NDArray

UNKNOWN = "<UNK>"
# The first rows of a biLM's softmax, as in bilm-tf's vocabulary files.
BILM_SPECIALS = ("<S>", "</S>", UNKNOWN)


class Vocabulary:
    """Words with their ids, and how often each occurred in training.

    words (Sequence[str]): The words; a word's position is its id.
    counts (Sequence[int]): Occurrences of each word in the training text.
    unknown (str): The word that stands for all others; must be one of `words`.
    """

    def __init__(
        self, words: Sequence[str], counts: Sequence[int], *, unknown: str
    ) -> None:
        self.words: List[str] = list(words)
        self.counts: List[int] = [int(count) for count in counts]
        self.unknown = unknown
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            repeated = [w for w, n in Counter(self.words).items() if n > 1][:3]
            raise ValueError(
                f"A vocabulary must not hold a word twice, but these are: {repeated}"
            )
        if len(self.counts) != len(self.words):
            raise ValueError(
                f"A vocabulary of {len(self.words)} words needs as many counts, "
                f"got {len(self.counts)}."
            )
        if unknown not in self._ids:
            raise ValueError(f"The vocabulary lacks its unknown word {unknown!r}.")

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._ids

    @property
    def unknown_id(self) -> int:
        """Id of the unknown word."""
        return self._ids[self.unknown]

    def id(self, word: str) -> int:
        """Return a word's id, or that of the unknown word."""
        return self._ids.get(word, self._ids[self.unknown])

    def ids(self, words: Iterable[str]) -> List[int]:
        """Return the ids of words."""
        unknown = self.unknown_id
        return [self._ids.get(word, unknown) for word in words]

    @classmethod
    def build(
        cls,
        counts: Mapping[str, int],
        *,
        specials: Sequence[str],
        unknown: str,
        max_size: int,
        min_freq: int,
    ) -> "Vocabulary":
        """Take the commonest words of a text.

        counts (Mapping[str, int]): Occurrences of each word.
        specials (Sequence[str]): Words that come first, whatever their counts.
        unknown (str): The special that stands for all words left out; its count
            is the sum of theirs.
        max_size (int): Largest size, specials included; 0 for no limit.
        min_freq (int): Words that occur less often are left out.
        RETURNS (Vocabulary): Specials, then words by falling count; words of one
            count in alphabetical order, so that the result is reproducible.
        """
        special = set(specials)
        kept = sorted(
            (w for w, n in counts.items() if n >= min_freq and w not in special),
            key=lambda word: (-counts[word], word),
        )
        if max_size:
            kept = kept[: max(0, max_size - len(specials))]
        words = [*specials, *kept]
        known = set(words)
        left_out = sum(n for word, n in counts.items() if word not in known)
        word_counts = [counts.get(word, 0) for word in words]
        word_counts[words.index(unknown)] += left_out
        return cls(words, word_counts, unknown=unknown)

    def extend(self, other: "Vocabulary") -> "Vocabulary":
        """Return this vocabulary with the new words of another after its own.

        The counts are those of `other`: they describe the text trained on last.
        """
        words = [*self.words, *(word for word in other.words if word not in self)]
        counts = [0 if w not in other else other.counts[other.id(w)] for w in words]
        return Vocabulary(words, counts, unknown=self.unknown)

    def unigram_log_probs(self) -> NDArray[numpy.float64]:
        """Return each word's log-probability, from the counts with one added."""
        counts = numpy.asarray(self.counts, dtype=numpy.float64) + 1.0
        return numpy.log(counts / counts.sum())

    def to_json(self) -> Dict[str, Any]:
        """Return plain values for a JSON file."""
        return {"unknown": self.unknown, "words": self.words, "counts": self.counts}

    @classmethod
    def from_json(cls, data: Dict[str, Any]) -> "Vocabulary":
        """Build a vocabulary from what `to_json` returned."""
        return cls(data["words"], data["counts"], unknown=data["unknown"])
