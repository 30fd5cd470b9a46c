"""One vector for a text: its words' vectors pooled."""

from typing import Callable, Dict, Tuple

import numpy
from numpy.typing import NDArray

Floats = NDArray[numpy.float32]

_PARTS: Dict[str, Callable[..., Floats]] = {"mean": numpy.mean, "max": numpy.max}
POOLINGS: Dict[str, Tuple[str, ...]] = {
    "mean": ("mean",),
    "max": ("max",),
    "mean_max": ("mean", "max"),
}


def pooling_parts(pooling: str) -> Tuple[str, ...]:
    """Return what a pooling puts side by side.

    pooling (str): `"mean"`, `"max"` or `"mean_max"`.
    RETURNS (Tuple[str, ...]): Names of its parts, in order.
    RAISES (ValueError): If there is no such pooling.
    """
    if pooling not in POOLINGS:
        raise ValueError(
            f"pooling = {pooling!r} is not a pooling; use one of {', '.join(POOLINGS)}."
        )
    return POOLINGS[pooling]


def pool(vectors: Floats, is_word: NDArray[numpy.bool_], pooling: str) -> Floats:
    """Pool the vectors of a text's words.

    vectors (NDArray): *Shape:* `(n_tokens, width)`
    is_word (NDArray): Which tokens count, `(n_tokens,)`.
    pooling (str): `"mean"`, `"max"` or `"mean_max"`.
    RETURNS (NDArray): `(width,)` for each part of the pooling, side by side; zeros for
        a text without words.
    """
    parts = pooling_parts(pooling)
    words = vectors[is_word]
    if not len(words):
        return numpy.zeros(len(parts) * vectors.shape[1], dtype=numpy.float32)
    return numpy.concatenate([_PARTS[part](words, axis=0) for part in parts])
