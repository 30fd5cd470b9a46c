"""Adaptive softmax: rare words stand in clusters, which are predicted first.

Grave et al. 2017 (arXiv:1609.04309). As in Merity et al. 2018 (arXiv:1803.08240), the
words of all clusters have vectors of full width, so that they can be those of the input
words; only the clusters' own vectors are new.
"""

from typing import List, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .softmax import softmax_loss


class Clusters(nn.Module):
    """The clusters of rare words, with a vector and a bias each.

    input_dim (int): Width of the hidden vectors.
    n_words (int): Size of the vocabulary, its words by falling frequency.
    cutoffs (Sequence[int]): Where the clusters begin: `[2000, 10000]` has the first
        2,000 words outside of any cluster, the next 8,000 in the first one and the
        rest in the second one.
    RAISES (ValueError): If the cutoffs do not rise, or leave a cluster without words.
    """

    def __init__(self, input_dim: int, n_words: int, cutoffs: Sequence[int]) -> None:
        super().__init__()
        edges = [0, *cutoffs, n_words]
        if any(low >= high for low, high in zip(edges, edges[1:])):
            raise ValueError(
                f"softmax_cutoffs = {list(cutoffs)} must be rising numbers above 0 and "
                f"below the size of the vocabulary, {n_words} words. Correct them in the "
                "[...model] block of the component."
            )
        self.cutoffs = tuple(cutoffs)
        self.sizes = [high - low for low, high in zip(edges, edges[1:])]
        self.weight = nn.Parameter(torch.empty(len(cutoffs), input_dim))
        nn.init.normal_(self.weight, std=input_dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(len(cutoffs)))


def adaptive_softmax_loss(
    hidden: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Tensor,
    clusters: Clusters,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Summed cross-entropy of an adaptive softmax; memory is that of `softmax_loss`.

    hidden (Tensor): Hidden vectors. *Shape:* `(n, input_dim)`
    targets (Tensor): Word ids. *Shape:* `(n,)`
    weight (Tensor): Softmax weights. *Shape:* `(n_words, input_dim)`
    bias (Tensor): Softmax bias. *Shape:* `(n_words,)`
    clusters (Clusters): The clusters.
    dtype (torch.dtype): Precision of the matrix products.
    RETURNS (Tensor): The sum of the losses in nats, a scalar.
    """
    (head_weight, head_bias), tails = _split(weight, bias, clusters)
    n_head = clusters.sizes[0]
    edges = torch.tensor(clusters.cutoffs, device=targets.device)
    number = torch.bucketize(targets, edges, right=True)
    head_targets = torch.where(number == 0, targets, n_head - 1 + number)
    loss = softmax_loss(hidden, head_targets, head_weight, head_bias, dtype=dtype)
    for i, (tail_weight, tail_bias) in enumerate(tails):
        rows = (number == i + 1).nonzero().squeeze(1)
        goals = targets[rows] - clusters.cutoffs[i]
        loss = loss + softmax_loss(
            hidden[rows], goals, tail_weight, tail_bias, dtype=dtype
        )
    return loss


def adaptive_log_probs(
    hidden: Tensor, weight: Tensor, bias: Tensor, clusters: Clusters
) -> Tensor:
    """Log-probability of every word: that of its cluster plus that within it.

    hidden (Tensor): *Shape:* `(..., input_dim)`
    weight (Tensor): Softmax weights. *Shape:* `(n_words, input_dim)`
    bias (Tensor): Softmax bias. *Shape:* `(n_words,)`
    clusters (Clusters): The clusters.
    RETURNS (Tensor): *Shape:* `(..., n_words)`
    """
    head, tails = _split(weight, bias, clusters)
    log_probs = F.linear(hidden, *head).log_softmax(dim=-1)
    n_head = clusters.sizes[0]
    parts = [log_probs[..., :n_head]]
    for i, tail in enumerate(tails):
        within = F.linear(hidden, *tail).log_softmax(dim=-1)
        parts.append(within + log_probs[..., n_head + i : n_head + i + 1])
    return torch.cat(parts, dim=-1)


def _split(
    weight: Tensor, bias: Tensor, clusters: Clusters
) -> Tuple[Tuple[Tensor, Tensor], List[Tuple[Tensor, Tensor]]]:
    """Return weights and biases of what is predicted first, and of each cluster."""
    # One split has one gradient for all; slices would fill a whole matrix each.
    weights, biases = weight.split(clusters.sizes), bias.split(clusters.sizes)
    head = (
        torch.cat([weights[0], clusters.weight]),
        torch.cat([biases[0], clusters.bias]),
    )
    return head, list(zip(weights[1:], biases[1:]))
