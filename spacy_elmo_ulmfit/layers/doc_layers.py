"""A language model's layers on a `Doc`: where they are kept and how users read them."""

from functools import partial
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy
from numpy.typing import NDArray
from spacy.tokens import Doc, Span, Token

_KEY = "spacy_elmo_ulmfit"
_BOUNDARIES = "boundaries"


class LMLayers:
    """All layers of a document, span or token, as `._.elmo` and `._.awd_lstm` give them.

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


def remove_doc_layers(doc: Doc, attribute: Optional[str] = None) -> None:
    """Take layers off a document.

    doc (Doc): The document.
    attribute (Optional[str]): Only those that this extension attribute shows.
    """
    for key in _keys(doc):
        if attribute in (None, key[1]):
            del _user_data(doc)[key]
            _user_data(doc).pop((*key, _BOUNDARIES), None)


def register_extension(attribute: str) -> None:
    """Define `._.<attribute>` of documents, spans and tokens.

    It shows what such a component wrote last: of a span the rows of its tokens, of a
    token one row. Setting it to `None` takes the layers off the document, as
    `doc_cleaner` does.
    """
    # Not local functions: processes that are spawned get the extensions pickled.
    getter = partial(_show, attribute=attribute)
    setter = partial(_take_off, attribute=attribute)
    Doc.set_extension(attribute, getter=getter, setter=setter, force=True)
    Span.set_extension(attribute, getter=getter, force=True)
    Token.set_extension(attribute, getter=getter, force=True)


def _show(part: Union[Doc, Span, Token], *, attribute: str) -> Optional[LMLayers]:
    keys = [key for key in _keys(part.doc) if key[1] == attribute]
    return _view(part, keys[-1]) if keys else None


def _take_off(doc: Doc, value: None, *, attribute: str) -> None:
    if value is not None:
        raise ValueError(
            f"doc._.{attribute} can only be set to None, which takes the layers off "
            "the document; a language model's component writes them."
        )
    remove_doc_layers(doc, attribute)


def _rows(part: Union[Doc, Span, Token]) -> slice:
    if isinstance(part, Token):
        return slice(part.i, part.i + 1)
    return slice(part.start, part.end) if isinstance(part, Span) else slice(None)


def _view(part: Union[Doc, Span, Token], key: Tuple[str, str, str]) -> LMLayers:
    doc = part.doc
    layers = _user_data(doc)[key]
    if layers.shape[1] != len(doc):
        raise ValueError(
            f"doc._.{key[1]} is of another document: it has {layers.shape[1]} tokens, "
            f"this one {len(doc)}. It was retokenized, or copied from a span; run "
            f"'{key[2]}' on it again."
        )
    boundaries = None
    if isinstance(part, Doc):
        boundaries = _user_data(doc).get((*key, _BOUNDARIES))
    # What was stored in half precision is float32 for its readers.
    return LMLayers(
        numpy.asarray(layers[:, _rows(part)], dtype=numpy.float32), boundaries
    )


def _user_data(doc: Doc) -> Dict[Any, Any]:
    # Typed as having text keys only, but spaCy itself uses tuples.
    return doc.user_data


def _keys(doc: Doc) -> List[Tuple[str, str, str]]:
    return [
        key
        for key in _user_data(doc)
        if isinstance(key, tuple) and len(key) == 3 and key[0] == _KEY
    ]
