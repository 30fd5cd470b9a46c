"""Outputs of a frozen language model, kept between epochs of training."""

from collections import OrderedDict
from typing import Hashable, Iterable, List, Sequence

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

Layers = NDArray[numpy.float32]


class LayerCache:
    """Least-recently-used cache of documents' layers, in half precision.

    max_bytes (int): Most memory to use; 0 keeps nothing.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._n_bytes = 0
        self._layers: "OrderedDict[Hashable, NDArray[numpy.float16]]" = OrderedDict()

    def __len__(self) -> int:
        return len(self._layers)

    @staticmethod
    def key(doc: Doc) -> Hashable:
        """Identify a document by what a language model reads of it."""
        return doc.to_array(["ORTH", "SENT_START"]).tobytes()

    def missing(self, docs: Sequence[Doc]) -> List[Doc]:
        """Return the documents that are not kept, equal ones once."""
        found = {self.key(doc): doc for doc in docs}
        return [doc for key, doc in found.items() if key not in self._layers]

    def round(self, layers: Layers) -> Layers:
        """Round as the cache does, so that a hit and a miss give the same numbers."""
        return layers.astype(numpy.float16).astype(numpy.float32)

    def store(self, docs: Iterable[Doc], outputs: Iterable[Layers]) -> None:
        """Keep the layers of documents, and let go of the least recently used."""
        for doc, layers in zip(docs, outputs):
            half = layers.astype(numpy.float16)
            key = self.key(doc)
            if half.nbytes > self.max_bytes or key in self._layers:
                continue
            self._layers[key] = half
            self._n_bytes += half.nbytes
        while self._n_bytes > self.max_bytes:
            _, oldest = self._layers.popitem(last=False)
            self._n_bytes -= oldest.nbytes

    def get(self, doc: Doc) -> "Layers | None":
        """Return a document's layers, or `None`."""
        key = self.key(doc)
        half = self._layers.get(key)
        if half is None:
            return None
        self._layers.move_to_end(key)
        return half.astype(numpy.float32)

    def clear(self) -> None:
        """Forget everything: the weights have changed."""
        self._layers.clear()
        self._n_bytes = 0
