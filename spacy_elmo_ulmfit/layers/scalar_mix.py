"""The task's own mix of a language model's layers, as a thinc layer."""

from typing import Any, Callable, List, Tuple, cast

from spacy.util import registry
from thinc.api import ArgsKwargs, Model, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..modules.scalar_mix import ScalarMix
from .shim import TorchShim
from .types import DocLayers, MixT


@registry.architectures("spacy-elmo-ulmfit.ScalarMix.v1")
def build_scalar_mix(n_layers: int = 3, dropout: float = 0.5) -> MixT:
    """Build the task-specific mix of layers (Peters et al. 2018, equation 1).

    n_layers (int): Number of layers to mix: one more than the biLM has LSTM layers.
    dropout (float): Dropout of the mixed vectors in training.
    RETURNS (Model[List[Floats3d], List[Floats2d]]): `(n_layers, n_tokens, width)` to
        `(n_tokens, width)` for each document: `gamma * sum_j softmax(s)_j h_j`.
    """
    return Model(
        "scalar_mix",
        forward,
        attrs={"n_layers": n_layers},
        shims=[TorchShim(ScalarMix(n_layers, dropout))],
    )


def forward(
    model: MixT, inputs: DocLayers, is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], DocLayers]]:
    """Mix the layers of all documents at once."""
    lengths = [layers.shape[1] for layers in inputs]
    xp: Any = model.ops.xp
    joined = xp.concatenate(inputs, axis=1)
    tensor = xp2torch(joined, requires_grad=is_train)
    mixed, torch_backprop = model.shims[0](ArgsKwargs((tensor,), {}), is_train)

    def backprop(d_mixed: List[Floats2d]) -> DocLayers:
        gradient = xp2torch(xp.concatenate(d_mixed, axis=0))
        torch_backprop(ArgsKwargs(((mixed,),), {"grad_tensors": (gradient,)}))
        return _split(torch2xp(cast(Tensor, tensor.grad)), lengths, axis=1)

    return _split(torch2xp(mixed.detach()), lengths, axis=0), backprop


def mix_weights(model: MixT) -> Tuple[List[float], float]:
    """Return what a mix has learnt: each layer's share (they sum to 1) and gamma."""
    module = cast(ScalarMix, cast(TorchShim, model.shims[0]).module)
    return module.weights.softmax(dim=0).tolist(), float(module.gamma.detach())


def _split(array: Any, lengths: List[int], *, axis: int) -> list:
    pieces, start = [], 0
    for length in lengths:
        index = slice(start, start + length)
        pieces.append(array[:, index] if axis else array[index])
        start += length
    return pieces
