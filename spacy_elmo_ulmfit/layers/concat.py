"""Put two `tok2vec` side by side: `[x; ELMo]`, `[h; ELMo]`."""

from typing import Any, Callable, List, Optional, Tuple, cast

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Maxout, Model, chain, with_array
from thinc.types import Floats2d

from .types import Tok2VecT


@registry.architectures("spacy-elmo-ulmfit.Concat.v1")
def build_concat(
    left: Model[Any, List[Floats2d]],
    right: Model[Any, List[Floats2d]],
    width: Optional[int] = None,
) -> Tok2VecT:
    """Concatenate the vectors of two layers, token by token.

    left (Model[List[Doc], List[Floats2d]]): For example an embedding layer.
    right (Model[List[Doc], List[Floats2d]]): For example an `ElmoListener`.
    width (Optional[int]): Project to this width with a maxout layer and layer
        norm, which encoders such as `spacy.MaxoutWindowEncoder.v2` need; `null`
        leaves the vectors side by side. `[training] dropout` applies to it.
    RETURNS (Model[List[Doc], List[Floats2d]]): `(n_tokens, width)` for each document.
    """
    # Not thinc's concatenate: that merges nested ones into one, fails on no documents
    # and lengthens the caller's list of documents when both sides are listeners.
    joined: Tok2VecT = Model(
        "concat", forward, init=init, layers=[left, right], dims={"nO": None}
    )
    _set_width(joined)
    if width is None:
        return joined
    # The width of what comes in is inferred when the model is initialized.
    projection: Model[List[Floats2d], List[Floats2d]] = with_array(
        Maxout(width, nP=3, normalize=True, dropout=0.0)
    )
    projected: Tok2VecT = chain(joined, projection)
    projected.set_dim("nO", width)
    return projected


def init(model: Tok2VecT, X: Any = None, Y: Any = None) -> Tok2VecT:
    """Initialize both layers; their widths are known then."""
    for layer in model.layers:
        layer.initialize(X=X)
    _set_width(model)
    return model


def forward(
    model: Tok2VecT, docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Doc]]]:
    """Concatenate the vectors of every document."""
    ops: Any = model.ops
    left, backprop_left = model.layers[0](docs, is_train)
    right, backprop_right = model.layers[1](docs, is_train)
    widths = [vectors.shape[1] for vectors in left]

    def backprop(d_joined: List[Floats2d]) -> List[Doc]:
        pairs = list(zip(d_joined, widths))
        backprop_left([ops.as_contig(gradient[:, :width]) for gradient, width in pairs])
        backprop_right(
            [ops.as_contig(gradient[:, width:]) for gradient, width in pairs]
        )
        return []

    return [ops.xp.hstack(pair) for pair in zip(left, right)], backprop


def _set_width(model: Tok2VecT) -> None:
    widths = [layer.maybe_get_dim("nO") for layer in model.layers]
    if None not in widths:
        model.set_dim("nO", sum(cast(List[int], widths)))
