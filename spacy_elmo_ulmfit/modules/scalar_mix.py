"""Task-specific mix of a language model's layers (Peters et al. 2018, equation 1)."""

import re
from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# What is added to the variance: AllenNLP's and bilm-tf's values, and torch's default.
LAYER_NORM_EPS = {"allennlp": 1e-13, "bilm-tf": 1e-12, "token": 1e-5}


class ScalarMix(nn.Module):
    """`gamma * sum_j softmax(s)_j h_j`, or another choice of layers, then dropout.

    n_layers (int): Number of layers to mix.
    dropout (float): Dropout of the mixed vectors, in training only.
    layers (str): `"mix"` for the sum above, `"top"` for the last layer, `"average"`
        for the mean, `"layer:k"` for layer k (0 is the token layer), `"concat"` for
        all layers side by side. `gamma` scales each of them.
    layer_norm (str): What is done to each layer first. `"none"`, or `"token"`: every
        token is normalized over its width. `"allennlp"` and `"bilm-tf"` normalize a
        layer by one mean and one variance over all tokens and dimensions of the
        batch, so results depend on the batch, in prediction too. No choice has
        parameters.
    initial_weights (Optional[Sequence[float]]): The s_j to start from, of any scale;
        zeros by default.
    initial_gamma (float): The gamma to start from.
    train_weights (bool): Whether the s_j learn.
    train_gamma (bool): Whether gamma learns.
    RAISES (ValueError): If `layers`, `layer_norm` or `initial_weights` is not valid.
    """

    weights: Optional[nn.Parameter]
    fixed_shares: Optional[Tensor]

    def __init__(
        self,
        n_layers: int,
        dropout: float = 0.0,
        *,
        layers: str = "mix",
        layer_norm: str = "none",
        initial_weights: Optional[Sequence[float]] = None,
        initial_gamma: float = 1.0,
        train_weights: bool = True,
        train_gamma: bool = True,
    ) -> None:
        super().__init__()
        if layer_norm not in ("none", *LAYER_NORM_EPS):
            raise ValueError(
                f"layer_norm = {layer_norm!r} is not a known normalization. Choose "
                f'"none", "allennlp", "bilm-tf" or "token".'
            )
        self.layer_norm = layer_norm
        self.dropout = dropout
        shares = _fixed_shares(layers, n_layers)
        self.register_buffer("fixed_shares", shares, persistent=False)
        start = _initial_weights(layers, initial_weights, n_layers)
        self.weights = start if start is None else nn.Parameter(start, train_weights)
        self.gamma = nn.Parameter(torch.full((1,), float(initial_gamma)), train_gamma)

    @property
    def shares(self) -> Optional[Tensor]:
        """Each layer's share, which sum to 1; `None` for layers side by side.

        *Shape:* `(n_layers,)`
        """
        if self.weights is not None:
            return torch.softmax(self.weights, dim=0)
        return self.fixed_shares

    def forward(self, layers: Tensor) -> Tensor:
        """Mix layers. Rows that are zeros in all layers are masked and stay zeros.

        layers (Tensor): *Shape:* `(n_layers, n_tokens, width)`
        RETURNS (Tensor): *Shape:* `(n_tokens, width)`, or
            `(n_tokens, n_layers * width)` for layers side by side.
        """
        layers = normalize_layers(layers, self.layer_norm)
        shares = self.shares
        if shares is None:
            chosen = torch.cat(tuple(layers), dim=1)
        else:
            chosen = torch.einsum("l,lnw->nw", shares, layers)
        return F.dropout(self.gamma * chosen, self.dropout, self.training)


def normalize_layers(layers: Tensor, kind: str) -> Tensor:
    """Normalize each layer; masked rows take no part and stay zeros.

    layers (Tensor): *Shape:* `(n_layers, n_tokens, width)`
    kind (str): A value of `layer_norm`, see `ScalarMix`.
    RETURNS (Tensor): The same shape.
    """
    if kind == "none":
        return layers
    width = layers.shape[2]
    if kind == "token":
        return F.layer_norm(layers, (width,), eps=LAYER_NORM_EPS[kind])
    mask = layers.detach().any(dim=2).any(dim=0).unsqueeze(1)
    # At least one: without a single token there is nothing to divide.
    n_values = mask.sum().clamp(min=1) * width
    mean = (layers * mask).sum(dim=(1, 2), keepdim=True) / n_values
    centred = (layers - mean) * mask
    variance = centred.square().sum(dim=(1, 2), keepdim=True) / n_values
    return centred / torch.sqrt(variance + LAYER_NORM_EPS[kind])


def _initial_weights(
    layers: str, weights: Optional[Sequence[float]], n_layers: int
) -> Optional[Tensor]:
    """Return the s_j to start from, or `None` for a choice of layers without any."""
    if layers != "mix":
        if weights is not None:
            raise ValueError(
                f'initial_weights are for layers = "mix"; layers = "{layers}" has no '
                "weights. Remove initial_weights, or change layers."
            )
        return None
    if weights is None:
        return torch.zeros(n_layers)
    if len(weights) != n_layers:
        raise ValueError(
            f"initial_weights needs one value per layer: got {len(weights)} for "
            f"n_layers = {n_layers}."
        )
    return torch.tensor([float(weight) for weight in weights])


def _fixed_shares(layers: str, n_layers: int) -> Optional[Tensor]:
    """Return the layers' shares where nothing is learnt of them."""
    if layers in ("mix", "concat"):
        return None
    if layers == "average":
        return torch.full((n_layers,), 1.0 / n_layers)
    chosen = _layer_number(layers, n_layers)
    if chosen is None or not 0 <= chosen < n_layers:
        raise ValueError(
            f"layers = {layers!r} is not a choice of layers. Choose "
            '"mix", "top", "average", "concat", or "layer:k" with k from 0 to '
            f"{n_layers - 1}."
        )
    return F.one_hot(torch.tensor(chosen), n_layers).float()


def _layer_number(layers: str, n_layers: int) -> Optional[int]:
    if layers == "top":
        return n_layers - 1
    found = re.fullmatch(r"layer:(\d+)", layers)
    return int(found.group(1)) if found else None
