"""Outputs of a frozen language model, kept between epochs of training."""

from collections import OrderedDict
from typing import Any, Dict, Iterable, Mapping, Protocol

import numpy
from numpy.typing import NDArray

# The same numbers in memory, on disk and where nothing was kept: all are rounded.
HALF = numpy.dtype("<f2")
Half = NDArray[numpy.float16]
Array = NDArray[Any]


class OutputCache(Protocol):
    """Keeps the layers of documents, as they are for one state of the weights."""

    def get(self, keys: Iterable[bytes]) -> Dict[bytes, Half]:
        """Return what is kept.

        keys (Iterable[bytes]): Keys of documents, any number of times.
        RETURNS (Dict[bytes, Half]): The layers `(n_layers, n_rows, width)` of those
            that are kept.
        """

    def store(self, layers: Mapping[bytes, Half]) -> None:
        """Keep layers, as far as there is room.

        layers (Mapping[bytes, Half]): The layers of documents by their keys.
        """


class LayerCache:
    """Least-recently-used cache of documents' layers, or of what is pooled of them.

    It keeps arrays as they are given.

    max_bytes (int): Most memory to use; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._n_bytes = 0
        self._layers: "OrderedDict[bytes, Array]" = OrderedDict()

    def get(self, keys: Iterable[bytes]) -> Dict[bytes, Array]:
        """See `OutputCache.get`."""
        found = {key: self._layers[key] for key in keys if key in self._layers}
        for key in found:
            self._layers.move_to_end(key)
        return found

    def store(self, layers: Mapping[bytes, Array]) -> None:
        """See `OutputCache.store`; the least recently used make room."""
        for key, array in layers.items():
            if array.nbytes > self.max_bytes or key in self._layers:
                continue
            self._layers[key] = array
            self._n_bytes += array.nbytes
        while self._n_bytes > self.max_bytes:
            _, oldest = self._layers.popitem(last=False)
            self._n_bytes -= oldest.nbytes
