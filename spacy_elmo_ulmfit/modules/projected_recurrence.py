"""The recurrence of an LSTM with projection and clips in training, by hand.

Autograd would add one weight gradient per time step; here the gradients of all steps are
collected, and every weight gradient is a single matrix product.
"""

import functools
from typing import Any, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .cuda_graphs import GraphCache, can_replay
from .recurrence import Clips, LSTMState, activate


class LayerWeights(NamedTuple):
    """The weights of a layer.

    input (Tensor): *Shape:* `(4 * cell_dim, input_dim)`
    hidden (Tensor): *Shape:* `(4 * cell_dim, output_dim)`
    bias (Tensor): *Shape:* `(4 * cell_dim,)`
    projection (Optional[Tensor]): *Shape:* `(output_dim, cell_dim)`
    """

    input: Tensor
    hidden: Tensor
    bias: Tensor
    projection: Optional[Tensor]


class Steps(NamedTuple):
    """What all steps computed, in packed order, and the state after the last.

    gates (Tensor): Activations of the gates. *Shape:* `(n_tokens, 4 * cell_dim)`
    outputs (Tensor): *Shape:* `(n_tokens, output_dim)`
    previous_outputs (Tensor): Those of the step before.
    cells (Tensor): *Shape:* `(n_tokens, cell_dim)`
    previous_cells (Tensor): Those of the step before.
    squashed (Tensor): `tanh` of the cells.
    last_hidden (Tensor): *Shape:* `(batch, output_dim)`
    last_cell (Tensor): *Shape:* `(batch, cell_dim)`
    """

    gates: Tensor
    outputs: Tensor
    previous_outputs: Tensor
    cells: Tensor
    previous_cells: Tensor
    squashed: Tensor
    last_hidden: Tensor
    last_cell: Tensor


def run_with_gradients(
    inputs: Tensor,
    batch_sizes: List[int],
    state: LSTMState,
    weights: LayerWeights,
    clips: Clips,
    graphs: GraphCache,
) -> Tuple[Tensor, LSTMState]:
    """Run the recurrence over a packed batch so that autograd can go back through it.

    inputs (Tensor): Packed input rows. *Shape:* `(n_tokens, input_dim)`
    batch_sizes (List[int]): Running sequences per step.
    state (LSTMState): Initial output `(batch, output_dim)` and cell `(batch, cell_dim)`,
        rows in packed order.
    weights (LayerWeights): The weights.
    clips (Clips): The bounds.
    graphs (GraphCache): Where a GPU's recordings of the steps are kept.
    RETURNS (Tuple[Tensor, LSTMState]): Packed outputs `(n_tokens, output_dim)`, and each
        sequence's last state.
    """
    outputs, hidden, cell = _Recurrence.apply(
        inputs, *state, *weights, batch_sizes, clips, graphs
    )
    return outputs, (hidden, cell)


def _run_steps(
    gates: Tensor,
    hidden: Tensor,
    cell: Tensor,
    weight_hh: Tensor,
    weight_hr: Optional[Tensor],
    *,
    batch_sizes: List[int],
    clips: Clips,
) -> Steps:
    """Run all steps; `gates` are sums of the input product, and become activations."""
    n_tokens, width = len(gates), cell.shape[1]
    outputs = gates.new_empty(n_tokens, hidden.shape[1])
    previous_outputs = torch.empty_like(outputs)
    cells, previous_cells, squashed = (
        gates.new_empty(n_tokens, width) for _ in range(3)
    )
    last_hidden, last_cell = hidden.clone(), cell.clone()
    start = 0
    for size in batch_sizes:
        now = slice(start, start + size)
        previous_outputs[now] = last_hidden[:size]
        previous_cells[now] = last_cell[:size]
        gates[now].addmm_(last_hidden[:size], weight_hh.t())
        squashed[now] = activate(gates[now], last_cell[:size], clips.cell)
        cells[now] = last_cell[:size]
        hidden = squashed[now] * gates[now, 3 * width :]
        if weight_hr is not None:
            hidden = F.linear(hidden, weight_hr)
            if clips.projection is not None:
                hidden.clamp_(-clips.projection, clips.projection)
        outputs[now] = last_hidden[:size] = hidden
        start += size
    return Steps(
        gates, outputs, previous_outputs, cells, previous_cells, squashed,
        last_hidden, last_cell,
    )  # fmt: skip


def _run_back(
    d_outputs: Tensor,
    d_last_hidden: Tensor,
    d_last_cell: Tensor,
    gates: Tensor,
    outputs: Tensor,
    cells: Tensor,
    previous_cells: Tensor,
    squashed: Tensor,
    weight_hh: Tensor,
    weight_hr: Optional[Tensor],
    *,
    batch_sizes: List[int],
    clips: Clips,
) -> Tuple[Tensor, Tensor, Tensor, Tensor]:
    """Go back through all steps.

    RETURNS (Tuple[Tensor, Tensor, Tensor, Tensor]): Gradients of the gates' sums, of the
        projected outputs before their clip, and of the initial state.
    """
    width = cells.shape[1]
    in_gate, forget, candidate, out_gate = gates.split(width, dim=1)
    # Factors that do not depend on the recurrence, for all steps at once.
    d_gates = torch.empty_like(gates)
    d_in, d_forget, d_candidate, d_out = d_gates.split(width, dim=1)
    torch.mul(candidate, in_gate * (1 - in_gate), out=d_in)
    torch.mul(previous_cells, forget * (1 - forget), out=d_forget)
    torch.mul(in_gate, 1 - candidate * candidate, out=d_candidate)
    torch.mul(squashed, out_gate * (1 - out_gate), out=d_out)
    to_cell = out_gate * (1 - squashed * squashed)
    inside = None
    if clips.cell is not None:
        inside = (cells.abs() < clips.cell).to(cells.dtype)
    projected_inside = None
    if weight_hr is not None and clips.projection is not None:
        projected_inside = (outputs.abs() < clips.projection).to(outputs.dtype)
    d_projected = torch.empty_like(outputs)
    d_hidden, d_cell = d_last_hidden.clone(), d_last_cell.clone()
    end = len(gates)
    for size in reversed(batch_sizes):
        now = slice(end - size, end)
        torch.add(d_outputs[now], d_hidden[:size], out=d_projected[now])
        if projected_inside is not None:
            d_projected[now] *= projected_inside[now]
        d_squashed = d_projected[now]
        if weight_hr is not None:
            d_squashed = d_squashed @ weight_hr
        d_now = d_cell[:size].addcmul_(d_squashed, to_cell[now])
        d_out[now] *= d_squashed
        if inside is not None:
            d_now *= inside[now]
        d_gates[now].view(size, 4, width)[:, :3] *= d_now.unsqueeze(1)
        d_now *= forget[now]
        torch.mm(d_gates[now], weight_hh, out=d_hidden[:size])
        end -= size
    return d_gates, d_projected, d_hidden, d_cell


class _Recurrence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        inputs: Tensor,
        hidden: Tensor,
        cell: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias: Tensor,
        weight_hr: Optional[Tensor],
        batch_sizes: List[int],
        clips: Clips,
        graphs: GraphCache,
    ) -> Tuple[Tensor, Tensor, Tensor]:
        ctx.replays = can_replay(inputs.device, batch_sizes)
        ctx.graphs, ctx.batch_sizes, ctx.clips = graphs, batch_sizes, clips
        gates = F.linear(inputs, weight_ih, bias)
        steps = Steps(*_run(ctx, _run_steps, gates, hidden, cell, weight_hh, weight_hr))
        ctx.save_for_backward(
            inputs, weight_ih, weight_hh, weight_hr, steps.gates, steps.outputs,
            steps.previous_outputs, steps.cells, steps.previous_cells, steps.squashed,
        )  # fmt: skip
        return steps.outputs, steps.last_hidden, steps.last_cell

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Optional[Tensor], ...]:
        (
            inputs, weight_ih, weight_hh, weight_hr, gates, outputs,
            previous_outputs, cells, previous_cells, squashed,
        ) = ctx.saved_tensors  # fmt: skip
        d_gates, d_projected, d_hidden, d_cell = _run(
            ctx, _run_back, *grads, gates, outputs, cells, previous_cells, squashed,
            weight_hh, weight_hr,
        )  # fmt: skip
        d_weight_hr = None
        if weight_hr is not None:
            out_gate = gates[:, 3 * cells.shape[1] :]
            d_weight_hr = d_projected.t() @ (out_gate * squashed)
        return (
            d_gates @ weight_ih,
            d_hidden,
            d_cell,
            d_gates.t() @ inputs,
            d_gates.t() @ previous_outputs,
            d_gates.sum(0),
            d_weight_hr,
            None,
            None,
            None,
        )


def _run(ctx: Any, function: Any, *inputs: Optional[Tensor]) -> Tuple[Tensor, ...]:
    """Run steps, on a GPU as a graph where their shapes come again."""
    sizes, clips = ctx.batch_sizes, ctx.clips
    run = functools.partial(function, batch_sizes=sizes, clips=clips)
    if not ctx.replays:
        return run(*inputs)
    return ctx.graphs.run((function, len(sizes), clips), run, inputs)
