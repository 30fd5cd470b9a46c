"""Context-independent word vectors kept between calls: running text repeats itself."""

from collections import OrderedDict
from typing import Callable, Hashable, List, Optional, Sequence, Tuple

from torch import Tensor, nn

_FIRST_ROWS = 1024
_SAMPLE = 256


class WordVectorCache:
    """Least-recently-used cache of the vectors that a token encoder computes.

    A word that is missing costs its own computation, never that of the others.

    max_words (int): Most words to keep; 0 keeps none.
    """

    def __init__(self, max_words: int) -> None:
        self.max_words = max_words
        self._rows: "OrderedDict[str, int]" = OrderedDict()
        self._vectors: Optional[Tensor] = None
        self._weights: Optional[Hashable] = None
        self._published: Optional[Tuple[List[str], Tensor]] = None

    def __len__(self) -> int:
        return len(self._rows)

    def clear(self) -> None:
        """Forget everything: the weights have changed."""
        self._rows.clear()
        self._vectors, self._weights, self._published = None, None, None

    def publish(
        self, words: Sequence[str], vectors: Tensor, encoder: nn.Module
    ) -> None:
        """Start with vectors that somebody has computed before.

        words (Sequence[str]): The words.
        vectors (Tensor): Their vectors. *Shape:* `(n_words, width)`
        encoder (nn.Module): What they were computed with.
        """
        self.clear()
        self.max_words = max(self.max_words, len(words))
        self._weights = weights_key(encoder)
        self._published = (list(words), vectors)
        self._store(words, vectors)

    def published(self, encoder: nn.Module) -> Optional[Tuple[List[str], Tensor]]:
        """Return what `publish` was given, unless the weights have changed since."""
        return self._published if self._weights == weights_key(encoder) else None

    def lookup(
        self,
        words: Sequence[str],
        compute: Callable[[Sequence[str]], Tensor],
        encoder: nn.Module,
    ) -> Tensor:
        """Return the vectors of words.

        words (Sequence[str]): Distinct words.
        compute (Callable[[Sequence[str]], Tensor]): Computes those that are missing.
        encoder (nn.Module): What computes them; the cache is emptied when its
            weights have changed.
        RETURNS (Tensor): *Shape:* `(n_words, width)`
        """
        weights = weights_key(encoder)
        if weights != self._weights:
            self.clear()
            self._weights = weights
        known = [i for i, word in enumerate(words) if word in self._rows]
        absent = [i for i, word in enumerate(words) if word not in self._rows]
        if self._vectors is None or not known:
            computed = compute(words)
            self._store(words, computed)
            return computed
        result = self._vectors.new_empty(len(words), self._vectors.shape[1])
        result[known] = self._vectors[[self._rows[words[i]] for i in known]]
        for i in known:
            self._rows.move_to_end(words[i])
        if absent:
            missing = [words[i] for i in absent]
            result[absent] = computed = compute(missing)
            self._store(missing, computed)
        return result

    def _store(self, words: Sequence[str], vectors: Tensor) -> None:
        words, vectors = words[: self.max_words], vectors[: self.max_words]
        if not words:
            return
        n_evicted = max(0, len(self._rows) + len(words) - self.max_words)
        free = [self._rows.popitem(last=False)[1] for _ in range(n_evicted)]
        used = len(self._rows) + n_evicted
        rows = [*free, *range(used, used + len(words) - len(free))]
        table = self._table(max(rows) + 1, vectors)
        table[rows] = vectors
        self._rows.update(zip(words, rows))

    def _table(self, n_rows: int, like: Tensor) -> Tensor:
        """Return the table of vectors, with room for `n_rows`."""
        if self._vectors is None:
            self._vectors = like.new_empty(max(_FIRST_ROWS, n_rows), like.shape[1])
        elif n_rows > len(self._vectors):
            size = min(self.max_words, max(n_rows, 2 * len(self._vectors)))
            larger = like.new_empty(size, like.shape[1])
            larger[: len(self._vectors)] = self._vectors
            self._vectors = larger
        return self._vectors


def weights_key(encoder: nn.Module) -> Hashable:
    """Return what changes with a module's weights, without looking at all of them.

    encoder (nn.Module): The module.
    """
    # An optimizer of torch changes the version, one of thinc the storage, and a fused
    # one neither; but each changes the last bias.
    parameters = [parameter.detach() for parameter in encoder.parameters()]
    last = parameters[-1].flatten()[-_SAMPLE:].cpu().numpy().tobytes()
    tensors = (*parameters, *encoder.buffers())
    return (last, *((tensor.data_ptr(), tensor._version) for tensor in tensors))
