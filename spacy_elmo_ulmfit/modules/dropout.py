"""The dropouts of the AWD-LSTM (Merity et al. 2017, arXiv:1708.02182, section 4)."""

import torch.nn.functional as F
from torch import Tensor


def locked_dropout(inputs: Tensor, p: float, training: bool) -> Tensor:
    """Drop features with one mask per sequence, the same at every time step.

    inputs (Tensor): *Shape:* `(batch, n_steps, width)`
    p (float): Probability of dropping a feature.
    training (bool): Nothing is dropped when false.
    RETURNS (Tensor): The same shape.
    """
    if not training or p == 0.0:
        return inputs
    mask = F.dropout(inputs.new_ones(inputs.shape[0], 1, inputs.shape[2]), p)
    return inputs * mask


def embedding_dropout(
    ids: Tensor, weight: Tensor, p: float, training: bool, padding_idx: int
) -> Tensor:
    """Look words up, dropping whole words of the vocabulary (Gal & Ghahramani 2016).

    ids (Tensor): Word ids. *Shape:* `(batch, n_steps)`
    weight (Tensor): The embedding matrix. *Shape:* `(n_words, width)`
    p (float): Probability of dropping a word.
    training (bool): Nothing is dropped when false.
    padding_idx (int): Row without gradient.
    RETURNS (Tensor): Word vectors. *Shape:* `(batch, n_steps, width)`
    """
    embedded = F.embedding(ids, weight, padding_idx)
    if not training or p == 0.0:
        return embedded
    # The mask is applied to the looked-up rows: scaling the matrix would copy it.
    mask = F.dropout(weight.new_ones(len(weight)), p)
    return embedded * mask[ids].unsqueeze(-1)
