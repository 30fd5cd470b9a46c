"""Which of a language model's layers are wanted, and how they become one."""

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy
from numpy.typing import NDArray

from ..layers.doc_layers import LMLayers

NAMES = ("all", "top", "average", "layer:K", "concat", "mix")


@dataclass(frozen=True)
class LayerChoice:
    """A choice of layers.

    name (str): `"all"` of them, the `"top"` one, their `"average"`, `"layer:K"` (0 is
        the token layer), all side by side (`"concat"`), or a weighted sum (`"mix"`).
    weights (Tuple[float, ...]): Each layer's share of a mix, used as it is.
    gamma (float): Scale of a mix.
    RAISES (ValueError): If there is no such choice, or a mix lacks its weights.
    """

    name: str
    weights: Tuple[float, ...] = ()
    gamma: float = 1.0

    def __post_init__(self) -> None:
        if self.name not in NAMES and self.layer is None:
            raise ValueError(
                f"layers = {self.name!r} is not a choice of layers; use one of "
                f"{', '.join(NAMES)}, with a number for K."
            )
        if (self.name == "mix") != bool(self.weights):
            raise ValueError(
                "A mix needs a weight for each layer, and no other choice of layers "
                "takes weights: give both or none."
            )

    @property
    def layer(self) -> Optional[int]:
        """The number of the layer that `"layer:K"` names."""
        kind, _, number = self.name.partition(":")
        return int(number) if kind == "layer" and number.isdecimal() else None

    @property
    def reduces(self) -> bool:
        """Whether one row per token is left, instead of one per layer."""
        return self.name != "all"

    def check(self, n_layers: int) -> None:
        """Make sure that a language model has the layers.

        n_layers (int): Number of layers it has.
        RAISES (ValueError): If the choice does not fit.
        """
        if self.layer is not None and self.layer >= n_layers:
            raise ValueError(
                f"layers = {self.name!r}, but the language model's layers are "
                f"layer:0 to layer:{n_layers - 1}."
            )
        if self.weights and len(self.weights) != n_layers:
            raise ValueError(
                f"A mix of {n_layers} layers needs {n_layers} weights, not "
                f"{len(self.weights)}."
            )

    def __call__(self, layers: NDArray[numpy.float32]) -> NDArray[numpy.float32]:
        """Choose from the layers of a document.

        layers (NDArray): *Shape:* `(n_layers, n_tokens, width)`
        RETURNS (NDArray): The same for `"all"`, `(n_tokens, n_layers * width)` for
            `"concat"`, otherwise `(n_tokens, width)`.
        """
        self.check(len(layers))
        if self.name == "all":
            return layers
        if self.name == "average":
            return layers.mean(axis=0)
        if self.name == "concat":
            return numpy.concatenate(list(layers), axis=1)
        if self.name == "mix":
            return LMLayers(layers).mix(self.weights, self.gamma)
        return layers[-1 if self.layer is None else self.layer]
