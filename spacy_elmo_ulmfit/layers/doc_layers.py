"""A language model's layers on a `Doc`: where they are kept and how users read them."""

from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc, Span, Token

_KEY = "spacy_elmo_ulmfit"


class LMLayers:
    """All layers of a document, span or token, as `._.elmo` and `._.awd_lstm` give them.

    layers (NDArray): One row per token, zeros for white space.
        *Shape:* `(n_layers, n_tokens, width)`, float32
    """

    def __init__(self, layers: NDArray[numpy.float32]) -> None:
        self.layers = layers

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

    @property
    def is_word(self) -> NDArray[numpy.bool_]:
        """Which tokens the language model read: all but white space. *Shape:* `(n_tokens,)`"""
        return numpy.asarray(self.layers.any(axis=(0, 2)))

    @property
    def vector(self) -> NDArray[numpy.float32]:
        """Mean of the layers over the words; zeros when there are none. *Shape:* `(width,)`"""
        words = self.layers[:, self.is_word]
        if not words.shape[1]:
            return numpy.zeros(self.width, dtype=numpy.float32)
        return words.mean(axis=(0, 1))

    def similarity(self, other: "LMLayers") -> float:
        """Return the cosine of two vectors.

        Unlike spaCy's `similarity` it does not take equal words for equal: the same
        word has another vector in another sentence.

        other (LMLayers): The layers of another document, span or token.
        RETURNS (float): Between -1 and 1; 0 where a vector is all zeros.
        """
        one, two = self.vector, other.vector
        norms = float(numpy.linalg.norm(one) * numpy.linalg.norm(two))
        return float(one @ two) / norms if norms else 0.0


def set_doc_layers(
    doc: Doc, attribute: str, name: str, layers: NDArray[numpy.float32]
) -> None:
    """Keep a component's layers on a document.

    Plain arrays in `user_data` travel through `to_bytes`, `DocBin` and processes.

    doc (Doc): The document.
    attribute (str): The extension attribute that shows them, such as `"elmo"`.
    name (str): The component's name: two encoders keep their layers apart.
    layers (NDArray): *Shape:* `(n_layers, n_tokens, width)`
    """
    _user_data(doc)[(_KEY, attribute, name)] = layers


def get_doc_layers(doc: Doc, name: str) -> Optional[NDArray[numpy.float32]]:
    """Return the layers that the component `name` wrote, or `None`."""
    for key in _keys(doc):
        if key[2] == name:
            return _user_data(doc)[key]
    return None


def remove_doc_layers(doc: Doc) -> None:
    """Take the layers of all components off a document."""
    for key in _keys(doc):
        del _user_data(doc)[key]


def register_extension(attribute: str) -> None:
    """Define `._.<attribute>` of documents, spans and tokens.

    It shows what such a component wrote last: of a span the rows of its tokens, of a
    token one row. Setting it to `None` takes the layers off the document, as
    `doc_cleaner` does.
    """

    def getter(part: Union[Doc, Span, Token]) -> Optional[LMLayers]:
        keys = [key for key in _keys(part.doc) if key[1] == attribute]
        return _view(part.doc, keys[-1], _rows(part)) if keys else None

    def setter(doc: Doc, value: None) -> None:
        if value is not None:
            raise ValueError(
                f"doc._.{attribute} can only be set to None, which takes the layers off "
                "the document; a language model's component writes them."
            )
        for key in _keys(doc):
            if key[1] == attribute:
                del _user_data(doc)[key]

    Doc.set_extension(attribute, getter=getter, setter=setter, force=True)
    Span.set_extension(attribute, getter=getter, force=True)
    Token.set_extension(attribute, getter=getter, force=True)


def _rows(part: Union[Doc, Span, Token]) -> slice:
    if isinstance(part, Token):
        return slice(part.i, part.i + 1)
    return slice(part.start, part.end) if isinstance(part, Span) else slice(None)


def _view(doc: Doc, key: Tuple[str, str, str], rows: slice) -> LMLayers:
    layers = _user_data(doc)[key]
    if layers.shape[1] != len(doc):
        raise ValueError(
            f"doc._.{key[1]} is of another document: it has {layers.shape[1]} tokens, "
            f"this one {len(doc)}. It was retokenized, or copied from a span; run "
            f"'{key[2]}' on it again."
        )
    # What was stored in half precision is float32 for its readers.
    return LMLayers(numpy.asarray(layers[:, rows], dtype=numpy.float32))


def _user_data(doc: Doc) -> Dict[Any, Any]:
    # Typed as having text keys only, but spaCy itself uses tuples.
    return doc.user_data


def _keys(doc: Doc) -> List[Tuple[str, str, str]]:
    return [
        key
        for key in _user_data(doc)
        if isinstance(key, tuple) and len(key) == 3 and key[0] == _KEY
    ]
