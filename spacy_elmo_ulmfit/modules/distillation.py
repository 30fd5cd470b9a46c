"""Distillation: words predicted as another model does (Hinton et al. 2015, arXiv:1503.02531)."""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .heads import Softmax

# Rows of logits held at a time, the teacher's and the student's.
_CHUNK_ROWS = 256


def distillation_loss(
    hidden: Tensor,
    targets: Tensor,
    student: Softmax,
    teacher_hidden: Tensor,
    teacher: Softmax,
    *,
    share: float,
    temperature: float,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Summed cross-entropy mixed with the divergence from a teacher's predictions.

    `(1 - share) CE + share T^2 KL(teacher || student)`, the two distributions of the
    divergence being those of logits divided by the temperature T. Memory is one chunk of
    the logits, whatever the batch: the gradients compute them again.

    hidden (Tensor): The student's hidden vectors. *Shape:* `(n, width)`
    targets (Tensor): Word ids. *Shape:* `(n,)`
    student (Softmax): Its full softmax.
    teacher_hidden (Tensor): The teacher's hidden vectors, which get no gradient.
        *Shape:* `(n, teacher_width)`
    teacher (Softmax): Its softmax, full or adaptive, over the same words.
    share (float): Weight of the divergence, from 0 to 1.
    temperature (float): T.
    dtype (torch.dtype): Precision of the matrix products.
    RETURNS (Tensor): The sum of the losses in nats, a scalar.
    """
    weight = student.weight.to(dtype)
    losses = [hidden.new_zeros(())]
    for start in range(0, len(hidden), _CHUNK_ROWS):
        rows = slice(start, start + _CHUNK_ROWS)
        loss = checkpoint(
            _chunk_loss,
            hidden[rows],
            targets[rows],
            weight,
            student.bias,
            teacher_hidden[rows].detach(),
            teacher,
            share,
            temperature,
            use_reentrant=False,
        )
        losses.append(loss)
    return torch.stack(losses).sum()


def _chunk_loss(
    hidden: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    teacher_hidden: Tensor,
    teacher: Softmax,
    share: float,
    temperature: float,
) -> Tensor:
    logits = F.linear(hidden.to(weight.dtype), weight).float()
    if bias is not None:
        logits = logits + bias
    with torch.no_grad():
        teacher_logits = teacher.logits(teacher_hidden).float()
        wanted = (teacher_logits / temperature).log_softmax(dim=1)
    found = (logits / temperature).log_softmax(dim=1)
    divergence = F.kl_div(found, wanted, reduction="sum", log_target=True)
    loss = F.cross_entropy(logits, targets, reduction="sum")
    return (1 - share) * loss + share * temperature**2 * divergence
