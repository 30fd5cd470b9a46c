"""Rows of a table, looked up so that training can be repeated to the bit."""

import torch.nn.functional as F
from torch import Tensor


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of a table, with a gradient that is the same on every call.

    For rows that repeat: on a CPU, several threads add up the gradient of `table[index]`
    in an order that changes (see `torch.use_deterministic_algorithms` in PyTorch's
    documentation). An embedding adds it in the order of `index`.

    table (Tensor): *Shape:* `(n_rows, width)`
    index (Tensor): Row numbers. *Shape:* `(n,)`
    RETURNS (Tensor): The rows. *Shape:* `(n, width)`
    RAISES (IndexError): If a number is not that of a row.
    """
    return F.embedding(index, table)
