"""What predicts words from the outputs of a language model."""

from typing import NamedTuple, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .adaptive_softmax import Clusters, adaptive_log_probs, adaptive_softmax_loss
from .softmax import softmax_loss


class SoftmaxHead(nn.Module):
    """Parameters of a softmax over words: `logits = W h + b`.

    input_dim (int): Width of the hidden vectors.
    n_words (int): Size of the vocabulary.
    tied (bool): Whether W is somebody else's, such as an embedding; the head then
        holds the bias alone.
    cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin; none for
        a full softmax.
    """

    def __init__(
        self,
        input_dim: int,
        n_words: int,
        *,
        tied: bool = False,
        cutoffs: Sequence[int] = (),
    ) -> None:
        super().__init__()
        self.weight: Optional[nn.Parameter] = None
        if not tied:
            self.weight = nn.Parameter(torch.empty(n_words, input_dim))
            nn.init.normal_(self.weight, std=input_dim**-0.5)
        self.bias = nn.Parameter(torch.zeros(n_words))
        self.clusters = Clusters(input_dim, n_words, cutoffs) if cutoffs else None


class Softmax(NamedTuple):
    """The softmax of a language model, wherever its weights are from.

    weight (Tensor): *Shape:* `(n_words, input_dim)`
    bias (Optional[Tensor]): *Shape:* `(n_words,)`
    clusters (Optional[Clusters]): Those of an adaptive softmax.
    """

    weight: Tensor
    bias: Optional[Tensor]
    clusters: Optional[Clusters] = None

    def logits(self, hidden: Tensor) -> Tensor:
        """Return what a softmax makes the words' probabilities of.

        An adaptive softmax returns log-probabilities, which a softmax leaves as they
        are.

        hidden (Tensor): *Shape:* `(..., input_dim)`
        RETURNS (Tensor): *Shape:* `(..., n_words)`
        """
        if self.clusters is None or self.bias is None:
            return F.linear(hidden, self.weight, self.bias)
        return adaptive_log_probs(hidden, self.weight, self.bias, self.clusters)

    def loss(
        self, hidden: Tensor, targets: Tensor, *, dtype: torch.dtype = torch.float32
    ) -> Tensor:
        """Return the summed cross-entropy, in nats.

        hidden (Tensor): Hidden vectors. *Shape:* `(n, input_dim)`
        targets (Tensor): Word ids. *Shape:* `(n,)`
        dtype (torch.dtype): Precision of the matrix products.
        RETURNS (Tensor): A scalar.
        """
        if self.clusters is None or self.bias is None:
            return softmax_loss(hidden, targets, self.weight, self.bias, dtype=dtype)
        return adaptive_softmax_loss(
            hidden, targets, self.weight, self.bias, self.clusters, dtype=dtype
        )
