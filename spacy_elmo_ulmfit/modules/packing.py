"""Ragged batches without padding: sequences sorted by length and laid out time step by time step."""

from dataclasses import dataclass
from typing import List, Sequence, Tuple

import numpy
import torch
from torch import Tensor


@dataclass(frozen=True)
class PackedLayout:
    """Where every token of a ragged batch sits once the batch is packed.

    The flat layout is the concatenation of the sequences in their given order;
    the packed layout is time-major over the sequences sorted by falling length,
    as in `torch.nn.utils.rnn.PackedSequence`, so no padding is ever multiplied.

    batch_sizes (List[int]): Number of sequences still running at each step.
    order (Tensor): Which sequence each row of the packed batch is.
        *Shape:* `(n_sequences,)`
    forward_index (Tensor): Flat position of each packed position, reading left
        to right. *Shape:* `(n_tokens,)`
    backward_index (Tensor): The same with every sequence read from its last
        token to its first. *Shape:* `(n_tokens,)`
    """

    batch_sizes: List[int]
    order: Tensor
    forward_index: Tensor
    backward_index: Tensor

    @property
    def indices(self) -> Tuple[Tensor, Tensor]:
        """The forward and the backward index."""
        return self.forward_index, self.backward_index

    @classmethod
    def from_lengths(cls, lengths: Sequence[int]) -> "PackedLayout":
        """Compute the layout of sequences with the given lengths.

        lengths (Sequence[int]): Number of tokens of each sequence, all at least 1.
        RETURNS (PackedLayout): The layout.
        """
        sizes = numpy.asarray(lengths, dtype=numpy.int64)
        order = numpy.argsort(-sizes, kind="stable")
        starts = (numpy.cumsum(sizes) - sizes)[order]
        sizes = sizes[order]
        n_steps = int(sizes[0])
        # sizes fall, so the rows running at step t are a prefix of the rows.
        batch_sizes = numpy.searchsorted(-sizes, -numpy.arange(n_steps), side="left")
        step = numpy.repeat(numpy.arange(n_steps), batch_sizes)
        first = numpy.repeat(numpy.cumsum(batch_sizes) - batch_sizes, batch_sizes)
        row = numpy.arange(len(step)) - first
        return cls(
            batch_sizes=batch_sizes.tolist(),
            order=torch.from_numpy(order),
            forward_index=torch.from_numpy(starts[row] + step),
            backward_index=torch.from_numpy(starts[row] + sizes[row] - 1 - step),
        )

    def to(self, device: torch.device) -> "PackedLayout":
        """Return the same layout with its index tensors on `device`."""
        return PackedLayout(
            self.batch_sizes,
            self.order.to(device),
            self.forward_index.to(device),
            self.backward_index.to(device),
        )


def unpack(packed: Tensor, index: Tensor) -> Tensor:
    """Bring packed rows back to the flat layout.

    packed (Tensor): Rows in packed order. *Shape:* `(n_tokens, width)`
    index (Tensor): The index that packed them. *Shape:* `(n_tokens,)`
    RETURNS (Tensor): Rows in flat order. *Shape:* `(n_tokens, width)`
    """
    return torch.empty_like(packed).index_copy(0, index, packed)
