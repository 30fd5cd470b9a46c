"""Rows of a table, looked up so that training can be repeated to the bit."""

import torch.nn.functional as F
from torch import Tensor


def look_up(table: Tensor, index: Tensor) -> Tensor:
    """Return rows of a table, with a gradient that is the same on every call.

    The gradient of `table[index]` is added up by several threads at a time, for repeated
    rows in an order that changes from call to call.

    table (Tensor): *Shape:* `(n_rows, width)`
    index (Tensor): Row numbers, repeated ones too. *Shape:* `(n,)`
    RETURNS (Tensor): *Shape:* `(n, width)`
    """
    return F.embedding(index, table)
