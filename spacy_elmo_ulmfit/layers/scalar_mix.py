"""The task's own mix of a language model's layers, as a thinc layer."""

from typing import Any, Callable, List, Optional, Tuple, cast

from spacy.util import registry
from thinc.api import ArgsKwargs, Model, Optimizer, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..modules.scalar_mix import ScalarMix
from .shim import TorchShim
from .types import DocLayers, MixT


class ScalarMixShim(TorchShim):
    """A `ScalarMix` whose weights can be held near zero.

    module (ScalarMix): The mix.
    l2 (float): Factor of the penalty `sum_j s_j^2`; gamma has none.
    """

    def __init__(self, module: ScalarMix, *, l2: float = 0.0) -> None:
        super().__init__(module)
        self.l2 = l2

    def finish_update(self, optimizer: Optimizer) -> None:
        """Add the gradient of the penalty, once per update, and update."""
        weights = cast(ScalarMix, self.module).weights
        if self.l2 and weights is not None and weights.grad is not None:
            weights.grad += 2 * self.l2 * weights.detach()
        super().finish_update(optimizer)


@registry.architectures("spacy-elmo-ulmfit.ScalarMix.v1")
def build_scalar_mix(
    n_layers: int = 3,
    dropout: float = 0.5,
    layers: str = "mix",
    layer_norm: str = "none",
    initial_weights: Optional[List[float]] = None,
    initial_gamma: float = 1.0,
    train_weights: bool = True,
    train_gamma: bool = True,
    l2: float = 0.0,
) -> MixT:
    """Build the task-specific mix of layers (Peters et al. 2018, equation 1).

    The layer norms `"allennlp"` and `"bilm-tf"` use statistics of the whole batch:
    with them, a text's result depends on the batch it comes in, in prediction too.

    n_layers (int): Number of layers to mix: one more than the biLM has LSTM layers.
    dropout (float): Dropout of the mixed vectors, in training only.
    layers (str): `"mix"` for `gamma * sum_j softmax(s)_j h_j`, `"top"` for the last
        layer, `"average"`, `"layer:k"` for layer k (0 is the token layer), or
        `"concat"` for all layers side by side; `gamma` scales each of them.
    layer_norm (str): `"none"`; `"token"`, each token over its width; `"allennlp"`, one
        mean and variance per layer over the batch, sentence boundaries included
        where the language model keeps them; `"bilm-tf"`, the same without them.
    initial_weights (Optional[List[float]]): The s_j to start from, before the
        softmax; `[-9e10, 1, -9e10]` is layer 1 alone. Zeros by default.
    initial_gamma (float): The gamma to start from.
    train_weights (bool): Whether the s_j learn.
    train_gamma (bool): Whether gamma learns.
    l2 (float): Factor of the penalty `sum_j s_j^2` in training; gamma has none.
    RETURNS (Model[List[Floats3d], List[Floats2d]]): `(n_layers, n_tokens, width)` to
        `(n_tokens, width)` for each document, `(n_tokens, n_layers * width)` for
        `"concat"`.
    RAISES (ValueError): If `layers`, `layer_norm` or `initial_weights` is not valid.
    """
    module = ScalarMix(
        n_layers,
        dropout,
        layers=layers,
        layer_norm=layer_norm,
        initial_weights=initial_weights,
        initial_gamma=initial_gamma,
        train_weights=train_weights,
        train_gamma=train_gamma,
    )
    return Model(
        "scalar_mix",
        forward,
        attrs={
            "n_layers": n_layers,
            "layers": layers,
            "reads_boundaries": layer_norm == "allennlp",
        },
        shims=[ScalarMixShim(module, l2=l2)],
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


def learns_shares(model: MixT) -> bool:
    """Whether a mix has a weight s_j for each layer; other choices have none."""
    return model.attrs.get("layers") == "mix"


def mix_weights(model: MixT) -> Tuple[List[float], float]:
    """Return what a mix has learnt: each layer's share (they sum to 1) and gamma.

    RAISES (ValueError): If its layers lie side by side, without shares.
    """
    module = cast(ScalarMix, cast(TorchShim, model.shims[0]).module)
    if module.shares is None:
        raise ValueError('A mix with layers = "concat" has no share of each layer.')
    return module.shares.tolist(), float(module.gamma.detach())


def _split(array: Any, lengths: List[int], *, axis: int) -> list:
    pieces, start = [], 0
    for length in lengths:
        index = slice(start, start + length)
        pieces.append(array[:, index] if axis else array[index])
        start += length
    return pieces
