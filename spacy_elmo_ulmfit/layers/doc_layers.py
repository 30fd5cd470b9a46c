"""A language model's layers on a `Doc`: where they are kept and how users read them."""

from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc

_KEY = "spacy_elmo_ulmfit"
_BOUNDARIES = "boundaries"


class LMLayers:
    """All layers of a document's tokens, as `doc._.elmo` and `doc._.awd_lstm` give them.

    layers (NDArray): One row per token, zeros for white space.
        *Shape:* `(n_layers, n_tokens, width)`, float32
    boundaries (Optional[NDArray]): Rows of `<S>` and `</S>` of each sequence in
        order, where the component keeps them.
        *Shape:* `(n_layers, 2 * n_sequences, width)`, float32
    """

    def __init__(
        self,
        layers: NDArray[numpy.float32],
        boundaries: Optional[NDArray[numpy.float32]] = None,
    ) -> None:
        self.layers = layers
        self.boundaries = boundaries

    @property
    def n_layers(self) -> int:
        """Number of layers."""
        return self.layers.shape[0]

    @property
    def width(self) -> int:
        """Width of a layer."""
        return self.layers.shape[2]

    def layer(self, i: int) -> NDArray[numpy.float32]:
        """Return one layer, 0 being the token layer. *Shape:* `(n_tokens, width)`"""
        return self.layers[i]

    def mix(
        self, weights: Sequence[float], gamma: float = 1.0
    ) -> NDArray[numpy.float32]:
        """Return a weighted sum of the layers.

        weights (Sequence[float]): Each layer's share, used as it is.
        gamma (float): Scale of the sum.
        RETURNS (NDArray): *Shape:* `(n_tokens, width)`
        """
        if len(weights) != self.n_layers:
            raise ValueError(
                f"mix needs one weight per layer: got {len(weights)} for "
                f"{self.n_layers} layers."
            )
        shares = numpy.asarray(weights, dtype=numpy.float32)
        return numpy.einsum("l,lnw->nw", gamma * shares, self.layers)


def set_doc_layers(
    doc: Doc,
    attribute: str,
    name: str,
    layers: NDArray[numpy.float32],
    boundaries: Optional[NDArray[numpy.float32]] = None,
) -> None:
    """Keep a component's layers on a document.

    Plain arrays in `user_data` travel through `to_bytes`, `DocBin` and processes.

    doc (Doc): The document.
    attribute (str): The extension attribute that shows them, such as `"elmo"`.
    name (str): The component's name: two encoders keep their layers apart.
    layers (NDArray): *Shape:* `(n_layers, n_tokens, width)`
    boundaries (Optional[NDArray]): *Shape:* `(n_layers, 2 * n_sequences, width)`
    """
    key = (_KEY, attribute, name)
    _user_data(doc)[key] = layers
    _user_data(doc).pop((*key, _BOUNDARIES), None)
    if boundaries is not None:
        _user_data(doc)[(*key, _BOUNDARIES)] = boundaries


def get_doc_boundaries(doc: Doc, name: str) -> Optional[NDArray[numpy.float32]]:
    """Return the sentence boundaries that the component `name` wrote, or `None`."""
    for key in _keys(doc):
        if key[2] == name:
            return _user_data(doc).get((*key, _BOUNDARIES))
    return None


def get_doc_layers(doc: Doc, name: str) -> Optional[NDArray[numpy.float32]]:
    """Return the layers that the component `name` wrote, or `None`."""
    for key in _keys(doc):
        if key[2] == name:
            return _user_data(doc)[key]
    return None


def register_extension(attribute: str) -> None:
    """Define `doc._.<attribute>`; it shows what such a component wrote last.

    Setting it to `None` takes the layers off the document, as `doc_cleaner` does.
    """

    def getter(doc: Doc) -> Optional[LMLayers]:
        keys = [key for key in _keys(doc) if key[1] == attribute]
        if not keys:
            return None
        data, key = _user_data(doc), keys[-1]
        return LMLayers(data[key], data.get((*key, _BOUNDARIES)))

    def setter(doc: Doc, value: None) -> None:
        if value is not None:
            raise ValueError(
                f"doc._.{attribute} can only be set to None, which takes the layers off "
                "the document; a language model's component writes them."
            )
        for key in _keys(doc):
            if key[1] == attribute:
                del _user_data(doc)[key]
                _user_data(doc).pop((*key, _BOUNDARIES), None)

    Doc.set_extension(attribute, getter=getter, setter=setter, force=True)


def _user_data(doc: Doc) -> Dict[Any, Any]:
    # Typed as having text keys only, but spaCy itself uses tuples.
    return doc.user_data


def _keys(doc: Doc) -> List[Tuple[str, str, str]]:
    return [
        key
        for key in _user_data(doc)
        if isinstance(key, tuple) and len(key) == 3 and key[0] == _KEY
    ]
