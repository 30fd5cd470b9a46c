"""How often each word of a corpus occurs, counted in bounded memory."""

from typing import Collection, Dict, Iterable, Optional

from spacy.util import logger

from .stream import TokenStream

# Words that are counted at the same time: less than 300 MB.
MAX_TYPES = 2_000_000


class WordCounts:
    """Occurrences of words; the rarest are given up when there are too many.

    max_types (int): Most words that are counted at the same time.
    only (Optional[Collection[str]]): The words that are counted; by default all.
    """

    def __init__(
        self, max_types: int = MAX_TYPES, only: Optional[Collection[str]] = None
    ) -> None:
        self.max_types, self.only = max_types, only
        self.counts: Dict[str, int] = {}
        self.n_others = 0

    def add(self, counts: Dict[str, int]) -> None:
        """Add the counts of a part of the corpus.

        counts (Dict[str, int]): Occurrences of each of its words.
        """
        for word, count in counts.items():
            if self.only is None or word in self.only:
                self.counts[word] = self.counts.get(word, 0) + count
            else:
                self.n_others += count
        if len(self.counts) > self.max_types:
            self._prune()

    def _prune(self) -> None:
        """Give up the rarest words, until half of the table is free again."""
        order = sorted(self.counts.values(), reverse=True)
        bound = order[self.max_types // 2]
        kept = {word: count for word, count in self.counts.items() if count > bound}
        logger.info(
            "Vocabulary: more than %d different words; those that occurred up to %d times "
            "so far are counted as unknown",
            self.max_types,
            bound,
        )
        self.n_others += sum(order) - sum(kept.values())
        self.counts = kept


def count_words(
    streams: Iterable[TokenStream],
    *,
    max_types: int = MAX_TYPES,
    only: Optional[Collection[str]] = None,
) -> WordCounts:
    """Count the words of a corpus.

    streams (Iterable[TokenStream]): Its shards.
    max_types (int): Most words that are counted at the same time.
    only (Optional[Collection[str]]): The words that are counted; by default all.
    RETURNS (WordCounts): The counts.
    """
    counts = WordCounts(max_types, only)
    for stream in streams:
        counts.add(stream.counts())
    return counts
