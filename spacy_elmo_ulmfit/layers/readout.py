"""What a component makes of a language model's layers: it mixes, aligns, projects.

A listener and an `ElmoTok2Vec` differ in where the layers come from, and in nothing
that is in here.
"""

from typing import Any, Callable, List, Optional, Sequence, Tuple, cast

from spacy.tokens import Doc
from thinc.api import Linear, Model, Ops, torch2xp, with_array
from thinc.types import Floats2d
from torch import Tensor

from .shim import LanguageModelShim
from .types import DocLayers, LanguageModelT, MixT

VectorsT = List[Floats2d]
BackpropT = Callable[[VectorsT], VectorsT]


def build_readout(mix: MixT, width: int, projection: Optional[int]) -> List[Model]:
    """Build the sublayers that turn a language model's layers into vectors.

    mix (Model[List[Floats3d], List[Floats2d]]): The mix of layers.
    width (int): Width of the language model's layers.
    projection (Optional[int]): Width of a linear layer after the mix, `None` for none.
    RETURNS (List[Model]): The mix, and the linear layer if there is one.
    """
    if projection is None:
        return [mix]
    linear = Linear(projection, _mixed_width(mix, width))
    return [mix, cast(Model, with_array(linear))]


def readout_width(readout: Sequence[Model], width: int) -> int:
    """Return the width of the vectors that come out.

    readout (Sequence[Model]): The sublayers.
    width (int): Width of the language model's layers.
    """
    mix, *projection = readout
    return projection[0].get_dim("nO") if projection else _mixed_width(mix, width)


def _mixed_width(mix: MixT, width: int) -> int:
    side_by_side = mix.attrs.get("layers") == "concat"
    return mix.attrs["n_layers"] * width if side_by_side else width


def read_out(
    readout: Sequence[Model],
    docs: Sequence[Doc],
    layers: DocLayers,
    alignment: Optional[Tensor],
    is_train: bool,
) -> Tuple[VectorsT, Callable[[VectorsT], DocLayers]]:
    """Turn a language model's layers into one vector per token.

    readout (Sequence[Model]): The sublayers.
    docs (Sequence[Doc]): The documents.
    layers (List[Floats3d]): For each document `(n_layers, n_rows, width)`: a row per
        token, then rows of sentence boundaries, if the language model keeps them.
    alignment (Optional[Tensor]): What the mixed vectors are multiplied by,
        `(width, width)`; it does not learn.
    is_train (bool): Whether this is for training.
    RETURNS (Tuple[List[Floats2d], Callable]): `(n_tokens, readout_width)` for each
        document, and a function from their gradient to that of `layers`.
    RAISES (ValueError): If layers side by side are to be aligned.
    """
    mix, *projection = readout
    vectors, backprop_mix = _mix_tokens(mix, docs, layers, is_train)
    backprops: List[BackpropT] = []
    if alignment is not None:
        vectors, backprop = _align(mix, vectors, alignment)
        backprops.append(backprop)
    for layer in projection:
        vectors, backprop = layer(vectors, is_train)
        backprops.append(backprop)

    def backprop_all(d_vectors: VectorsT) -> DocLayers:
        for step in reversed(backprops):
            d_vectors = step(d_vectors)
        return backprop_mix(d_vectors)

    return vectors, backprop_all


def language_model_alignment(model: LanguageModelT) -> Optional[Tensor]:
    """Return the alignment matrix stored with a language model's weights, or `None`."""
    shim = cast(LanguageModelShim, model.shims[0])
    return getattr(shim.module, "alignment", None) if shim.has_weights else None


def _mix_tokens(
    mix: MixT, docs: Sequence[Doc], layers: DocLayers, is_train: bool
) -> Tuple[VectorsT, Callable[[VectorsT], DocLayers]]:
    """Mix layers; boundaries are read by a mix that wants them, and then dropped."""
    n_rows = [doc_layers.shape[1] for doc_layers in layers]
    reads_boundaries = mix.attrs.get("reads_boundaries", False)
    inputs: Any = layers
    if not reads_boundaries:
        inputs = [rows[:, : len(doc)] for rows, doc in zip(layers, docs)]
    mixed, backprop_mix = mix(inputs, is_train)
    vectors: Any = [rows[: len(doc)] for rows, doc in zip(mixed, docs)]

    def backprop(d_vectors: Any) -> DocLayers:
        # What was dropped has a gradient of zero.
        if reads_boundaries:
            d_vectors = _fill_rows(mix.ops, d_vectors, n_rows, axis=0)
        return _fill_rows(mix.ops, backprop_mix(d_vectors), n_rows, axis=1)

    return vectors, backprop


def _fill_rows(ops: Ops, arrays: Any, n_rows: Sequence[int], *, axis: int) -> Any:
    xp: Any = ops.xp
    filled = []
    for array, size in zip(arrays, n_rows):
        shape = list(array.shape)
        shape[axis] = size - shape[axis]
        if shape[axis]:
            array = xp.concatenate([array, ops.alloc(tuple(shape))], axis=axis)
        filled.append(array)
    return filled


def _align(
    mix: MixT, vectors: VectorsT, alignment: Tensor
) -> Tuple[VectorsT, BackpropT]:
    if mix.attrs.get("layers") == "concat":
        raise ValueError(
            'layers = "concat" in a mix cannot be used with a language model that has '
            "an alignment matrix, which is for vectors of one layer's width. Choose "
            "another value of layers, or a language model without alignment."
        )
    ops = mix.ops
    matrix = cast(Floats2d, torch2xp(alignment.detach().float()))

    def backprop(d_aligned: VectorsT) -> VectorsT:
        return [ops.gemm(gradient, matrix) for gradient in d_aligned]

    return [ops.gemm(rows, matrix, trans2=True) for rows in vectors], backprop
