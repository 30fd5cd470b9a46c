"""QRNN layer (Bradbury et al. 2016, arXiv:1611.01576), as MultiFiT's encoders have it.

Everything but one weighted mean over time is a matrix product for all steps at once.
"""

import math
from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .prepared import Prepared
from .products import Precision, Product, create_product, multiplies_by_products

# On a CPU a step of fewer values than this costs its call, not its arithmetic.
_SMALL_STEP = 4096


class QRNNLayer(nn.Module):
    """One QRNN layer with an output gate, and dropout on its only matrix.

    `z, f, o = tanh, sigmoid, sigmoid(W [x_t; x_t-1] + b)` in this order of rows,
    `c_t = f_t z_t + (1 - f_t) c_t-1`, and the output is `o_t c_t` (section 2.1,
    fo-pooling with `f` as the share of what is new). Before a text there are zeros.

    input_dim (int): Width of the input.
    output_dim (int): Width of the output.
    window (int): Inputs that a step sees: 2, or 1 for the current one alone.
    """

    # Type of the numbers multiplied in prediction; `usable_precision` says which.
    precision: Precision = "fp32"

    def __init__(self, input_dim: int, output_dim: int, *, window: int = 1) -> None:
        super().__init__()
        if window not in (1, 2):
            raise ValueError(f"A QRNN layer has a window of 1 or 2, not {window}.")
        self.window = window
        self.linear = nn.Linear(window * input_dim, 3 * output_dim)
        self._prepared: Prepared[Product] = Prepared()

    @property
    def state_widths(self) -> Tuple[int, ...]:
        """Widths of what is carried on: the cell and, with a window of 2, the input."""
        cell = self.linear.out_features // 3
        return (cell,) if self.window == 1 else (cell, self.linear.in_features // 2)

    def run(
        self, inputs: Tensor, state: Tuple[Tensor, ...], weight_dropout: float
    ) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        """Run the layer, with one weight mask for the whole call.

        inputs (Tensor): *Shape:* `(batch, n_steps, input_dim)`
        state (Tuple[Tensor, ...]): The cell and, with a window of 2, the last input,
            `(1, batch, width)` each.
        weight_dropout (float): Dropout of the matrix; only in training.
        RETURNS (Tuple[Tensor, Tuple[Tensor, ...]]): Outputs
            `(batch, n_steps, output_dim)` and the last state.
        """
        cell, *last_input = state
        source = inputs
        if self.window == 2:
            before = torch.cat([last_input[0].transpose(0, 1), inputs[:, :-1]], dim=1)
            source = torch.cat([inputs, before], dim=2)
        gates = self._gates(source, weight_dropout)
        # A mean over many steps needs the precision of the state.
        new, forget, output = gates.to(cell.dtype).chunk(3, dim=2)
        forget = forget.sigmoid()
        cells = linear_scan(1 - forget, forget * new.tanh(), cell[0])
        last = [cells[:, -1:].transpose(0, 1)]
        if self.window == 2:
            last.append(inputs[:, -1:].transpose(0, 1))
        return output.sigmoid() * cells, tuple(last)

    def _gates(self, source: Tensor, weight_dropout: float) -> Tensor:
        weight, bias = self.linear.weight, self.linear.bias
        if multiplies_by_products(self, self.precision):
            product = self._prepared.get(self._prepare, [weight, bias], self.precision)
            rows = product(source.flatten(0, 1))
            return rows.unflatten(0, source.shape[:2])
        weight = F.dropout(weight, weight_dropout, self.training)
        return F.linear(source, weight, bias)

    def _prepare(self) -> Product:
        linear = self.linear
        return create_product(linear.weight, linear.bias, precision=self.precision)


def linear_scan(
    decay: Tensor, values: Tensor, initial: Tensor, chunk_length: Optional[int] = None
) -> Tensor:
    """Compute `y_t = decay_t * y_t-1 + values_t` for all steps.

    The steps are cut into chunks that are computed side by side, each from zero, and
    then joined. Nothing is divided by, so no decay is too strong and no text too long.

    decay (Tensor): Between 0 and 1. *Shape:* `(batch, n_steps, width)`
    values (Tensor): The same shape.
    initial (Tensor): The `y` before the first step. *Shape:* `(batch, width)`
    chunk_length (Optional[int]): Steps per chunk; `None` for what is fastest.
    RETURNS (Tensor): All `y`. *Shape:* `(batch, n_steps, width)`
    """
    if chunk_length is None:
        n_steps = values.shape[1]
        in_chunks = values.is_cuda or values[:, 0].numel() < _SMALL_STEP
        chunk_length = math.ceil(math.sqrt(n_steps)) if in_chunks else n_steps
    return _LinearScan.apply(decay, values, initial, chunk_length)


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, decay: Tensor, values: Tensor, initial: Tensor, chunk_length: int
    ) -> Tensor:
        outputs = _scan(decay, values, initial, chunk_length)
        ctx.save_for_backward(decay, outputs, initial)
        ctx.chunk_length = chunk_length
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Optional[Tensor], ...]:
        decay, outputs, initial = ctx.saved_tensors
        # A step's gradient comes back with the decay of the step after it: the same
        # scan from the end.
        following = F.pad(decay[:, 1:], (0, 0, 0, 1)).flip(1)
        zeros = torch.zeros_like(initial)
        d_values = _scan(following, grads[0].flip(1), zeros, ctx.chunk_length).flip(1)
        previous = torch.cat([initial.unsqueeze(1), outputs[:, :-1]], dim=1)
        return d_values * previous, d_values, decay[:, 0] * d_values[:, 0], None


def _scan(decay: Tensor, values: Tensor, initial: Tensor, chunk_length: int) -> Tensor:
    n_steps = values.shape[1]
    if n_steps <= chunk_length:
        return _scan_steps(decay, values, initial)
    padding = (0, 0, 0, -n_steps % chunk_length)
    decay, values = (
        F.pad(tensor, padding).unflatten(1, (-1, chunk_length)).transpose(1, 2)
        for tensor in (decay, values)
    )
    # (batch, chunk_length, n_chunks, width): each chunk from zero.
    outputs = _scan_steps(decay, values, torch.zeros_like(values[:, 0]))
    decay = decay.cumprod(dim=1)
    ends = _scan_steps(decay[:, -1], outputs[:, -1], initial)
    starts = torch.cat([initial.unsqueeze(1), ends[:, :-1]], dim=1)
    outputs = torch.addcmul(outputs, decay, starts.unsqueeze(1))
    return outputs.transpose(1, 2).flatten(1, 2)[:, :n_steps]


def _scan_steps(decay: Tensor, values: Tensor, initial: Tensor) -> Tensor:
    outputs, last = torch.empty_like(values), initial
    for step in range(values.shape[1]):
        last = torch.addcmul(
            values[:, step], decay[:, step], last, out=outputs[:, step]
        )
    return outputs
