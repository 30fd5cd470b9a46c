"""Full softmax over the vocabulary, without ever holding the logits of a whole batch."""

from typing import Any, Optional, Tuple

import torch
from torch import Tensor

# Rows of logits held at a time: 256 rows of 33,000 words are 34 MB.
_CHUNK_ROWS = 256
# On a GPU starting kernels takes the time: as many rows as 256 MB of logits hold.
_GPU_NUMBERS = 2**26


def softmax_loss(
    hidden: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Summed cross-entropy of a full softmax, computed in chunks of rows.

    Memory is one chunk of logits, whatever the batch; the gradients are computed
    together with the loss, so nothing is computed twice.

    hidden (Tensor): Hidden vectors. *Shape:* `(n, input_dim)`
    targets (Tensor): Word ids. *Shape:* `(n,)`
    weight (Tensor): Softmax weights. *Shape:* `(n_words, input_dim)`
    bias (Optional[Tensor]): Softmax bias. *Shape:* `(n_words,)`
    dtype (torch.dtype): Precision of the matrix products; the softmax and the
        sums are always in float32.
    RETURNS (Tensor): The sum of the losses in nats, a scalar.
    """
    needs_grad = torch.is_grad_enabled()
    return _SoftmaxLoss.apply(hidden, targets, weight, bias, dtype, needs_grad)


class _SoftmaxLoss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        targets: Tensor,
        weight: Tensor,
        bias: Optional[Tensor],
        dtype: torch.dtype,
        needs_grad: bool,
    ) -> Tensor:
        needs_grad = needs_grad and any(ctx.needs_input_grad)
        cast_weight = weight.to(dtype)
        loss = hidden.new_zeros(())
        d_hidden = torch.empty_like(hidden) if needs_grad else None
        d_weight = torch.zeros_like(weight) if needs_grad else None
        d_bias = torch.zeros_like(bias) if needs_grad and bias is not None else None
        n_rows = _CHUNK_ROWS
        if hidden.device.type == "cuda":
            n_rows = max(n_rows, _GPU_NUMBERS // len(weight))
        for start in range(0, len(hidden), n_rows):
            rows = slice(start, start + n_rows)
            chunk, goal = hidden[rows].to(dtype), targets[rows].unsqueeze(1)
            logits = (chunk @ cast_weight.t()).float()
            if bias is not None:
                logits += bias
            peak, right = logits.amax(1, keepdim=True), logits.gather(1, goal)
            # The probabilities take the logits' place: there is one pass of exp.
            norm = logits.sub_(peak).exp_().sum(1, keepdim=True)
            loss += (norm.log() + peak - right).sum()
            if d_hidden is None or d_weight is None:
                continue
            d_logits = logits.div_(norm)
            d_logits.scatter_add_(1, goal, d_logits.new_full(goal.shape, -1.0))
            if d_bias is not None:
                d_bias += d_logits.sum(0)
            d_cast = d_logits.to(dtype)
            d_hidden[rows] = (d_cast @ cast_weight).float()
            if dtype == d_weight.dtype:
                d_weight.addmm_(d_cast.t(), chunk)
            else:
                d_weight += (d_cast.t() @ chunk).float()
        ctx.save_for_backward(d_hidden, d_weight, d_bias)
        return loss

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Optional[Tensor], ...]:
        d_hidden, d_weight, d_bias = (
            None if grad is None else grad * grads[0] for grad in ctx.saved_tensors
        )
        return d_hidden, None, d_weight, d_bias, None, None
