"""Task-specific mix of a language model's layers (Peters et al. 2018, equation 1)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """`gamma * sum_j softmax(s)_j h_j`, followed by dropout in training.

    n_layers (int): Number of layers to mix.
    dropout (float): Dropout of the mixed vectors.
    """

    def __init__(self, n_layers: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(n_layers))
        self.gamma = nn.Parameter(torch.ones(1))
        self.dropout = dropout

    def forward(self, layers: Tensor) -> Tensor:
        """Mix layers.

        layers (Tensor): *Shape:* `(n_layers, n_tokens, width)`
        RETURNS (Tensor): *Shape:* `(n_tokens, width)`
        """
        shares = torch.softmax(self.weights, dim=0)
        mixed = self.gamma * torch.einsum("l,lnw->nw", shares, layers)
        return F.dropout(mixed, self.dropout, self.training)
