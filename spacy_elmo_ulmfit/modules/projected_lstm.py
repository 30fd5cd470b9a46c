"""LSTM with recurrent projection and clipping, the recurrence of ELMo's biLM.

Sak et al. 2014 (arXiv:1402.1128) gives the projected LSTM; the clips are those of
the published biLM (Peters et al. 2018, arXiv:1802.05365). `torch.nn.LSTM` with
`proj_size` cannot clip and therefore computes other numbers.
"""

import functools
from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .prepared import Prepared
from .products import Precision, create_product
from .recurrence import Clips, LayerProducts, LSTMState, activate, predict


class ProjectedLSTM(nn.Module):
    """One direction of one layer, over a packed batch.

    Gates are stored in torch's order: input, forget, candidate, output. With
    `z = W_ih x + W_hh h + b`:

        c = clip(sigmoid(z_f) * c + sigmoid(z_i) * tanh(z_g), cell_clip)
        h = clip(W_hr (sigmoid(z_o) * tanh(c)), proj_clip)

    input_dim (int): Width of the input.
    cell_dim (int): Width C of the memory cell.
    projection_dim (int): Width P of the output.
    cell_clip (Optional[float]): Bound of the cell, `None` for no clipping.
    proj_clip (Optional[float]): Bound of the projected output, `None` for none.
    forget_bias (float): Added to the forget gate's bias at run time. TensorFlow
        adds 1 and stores the rest; here the whole bias starts at 1 in any case.
    project (Optional[bool]): Whether there is a projection matrix W_hr; `None` for
        only where the widths differ, as in bilm-tf. Without one `proj_clip` does
        not apply, as published.
    """

    forget_offset: Tensor
    # Type of the numbers multiplied in prediction; `usable_precision` says which.
    precision: Precision = "fp32"

    def __init__(
        self,
        input_dim: int,
        cell_dim: int,
        projection_dim: int,
        *,
        cell_clip: Optional[float] = 3.0,
        proj_clip: Optional[float] = 3.0,
        forget_bias: float = 0.0,
        project: Optional[bool] = None,
    ) -> None:
        super().__init__()
        self.cell_clip = cell_clip or None
        self.proj_clip = proj_clip or None
        self.weight_ih = nn.Parameter(torch.empty(4 * cell_dim, input_dim))
        self.weight_hh = nn.Parameter(torch.empty(4 * cell_dim, projection_dim))
        self.bias = nn.Parameter(torch.zeros(4 * cell_dim))
        self.weight_hr: Optional[nn.Parameter] = None
        if project or (project is None and projection_dim != cell_dim):
            self.weight_hr = nn.Parameter(torch.empty(projection_dim, cell_dim))
        offset = torch.zeros(4, cell_dim)
        offset[1] = forget_bias
        self.register_buffer("forget_offset", offset.view(-1), persistent=False)
        self._prepared: Prepared[LayerProducts] = Prepared()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw Glorot-uniform weights, as TensorFlow's LSTMCell did for bilm-tf."""
        for weight in (self.weight_ih, self.weight_hh, self.weight_hr):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        with torch.no_grad():
            self.bias.zero_()
            self.bias.chunk(4)[1].fill_(1.0)
            self.bias.sub_(self.forget_offset)

    def forward(
        self, inputs: Tensor, batch_sizes: List[int], state: LSTMState
    ) -> Tuple[Tensor, LSTMState]:
        """Run the recurrence over a packed batch.

        inputs (Tensor): Packed input rows. *Shape:* `(n_tokens, input_dim)`
        batch_sizes (List[int]): Running sequences per step.
        state (LSTMState): Initial output `(batch, projection_dim)` and cell
            `(batch, cell_dim)`, rows in packed order.
        RETURNS (Tuple[Tensor, LSTMState]): Packed outputs
            `(n_tokens, projection_dim)`, and each sequence's last state.
        """
        if self.computed_by_cudnn(inputs.device):
            return self.run_library(inputs, batch_sizes, state)
        clips = Clips(self.cell_clip, self.proj_clip)
        if not torch.is_grad_enabled():
            products = self._prepared.get(self._prepare, self._weights, self.precision)
            return predict(inputs, batch_sizes, state, products, clips)
        self._prepared.clear()
        bias = self.bias + self.forget_offset
        weights = (self.weight_ih, self.weight_hh, bias, self.weight_hr)
        outputs, hidden, cell = _Recurrence.apply(
            inputs, *state, *weights, batch_sizes, clips
        )
        return outputs, (hidden, cell)

    def computed_by_cudnn(self, device: torch.device) -> bool:
        """Return whether cuDNN computes the layer: its kernel has no clips.

        A trained biLM's cells do reach their bound, so one with clips is never given
        to it.

        device (torch.device): What computes.
        RETURNS (bool): Only on a GPU, without clips, and where a projection narrows.
        """
        has_clip = self.cell_clip is not None or (
            self.weight_hr is not None and self.proj_clip is not None
        )
        # A projection that does not narrow is none that torch knows.
        fits = self.weight_hr is None or len(self.weight_hr) < self.weight_hr.shape[1]
        return device.type == "cuda" and fits and not has_clip

    def run_library(
        self, inputs: Tensor, batch_sizes: List[int], state: LSTMState
    ) -> Tuple[Tensor, LSTMState]:
        """Run a layer without clips by torch's own LSTM; see `forward`.

        inputs (Tensor): *Shape:* `(n_tokens, input_dim)`
        batch_sizes (List[int]): Running sequences per step.
        state (LSTMState): The initial state.
        RETURNS (Tuple[Tensor, LSTMState]): Packed outputs and last states.
        """
        bias = self.bias + self.forget_offset
        weights = [self.weight_ih, self.weight_hh, bias, torch.zeros_like(bias)]
        if self.weight_hr is not None:
            weights.append(self.weight_hr)
        # Arguments: has_biases, num_layers, dropout, train, bidirectional.
        outputs, hidden, cell = torch._VF.lstm(
            inputs,
            torch.tensor(batch_sizes),
            [part.unsqueeze(0) for part in state],
            weights,
            True, 1, 0.0, self.training, False,
        )  # fmt: skip
        return outputs, (hidden[0], cell[0])

    @property
    def _weights(self) -> List[Tensor]:
        projection = [] if self.weight_hr is None else [self.weight_hr]
        # A bias comes last: every step of an optimizer changes it.
        return [*projection, self.weight_ih, self.weight_hh, self.bias]

    def _prepare(self) -> LayerProducts:
        """Return the matrices as prediction multiplies by them."""
        create = functools.partial(create_product, precision=self.precision)
        bias = self.bias + self.forget_offset
        return LayerProducts(
            create(self.weight_ih, bias),
            create(self.weight_hh),
            None if self.weight_hr is None else create(self.weight_hr),
        )


class _Recurrence(torch.autograd.Function):
    """The recurrence with a hand-written backward pass.

    Autograd would add one weight gradient per time step; here the gradients of
    all steps are collected and every weight gradient is a single matrix product.
    """

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
    ) -> Tuple[Tensor, Tensor, Tensor]:
        gates = F.linear(inputs, weight_ih, bias)
        n_tokens, width = len(inputs), cell.shape[1]
        outputs = inputs.new_empty(n_tokens, hidden.shape[1])
        previous_hidden = torch.empty_like(outputs)
        cells, previous_cells, squashed = (
            inputs.new_empty(n_tokens, width) for _ in range(3)
        )
        last_hidden, last_cell = hidden.clone(), cell.clone()
        start = 0
        for size in batch_sizes:
            now = slice(start, start + size)
            previous_hidden[now] = last_hidden[:size]
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
        ctx.save_for_backward(
            inputs, weight_ih, weight_hh, weight_hr, gates, outputs,
            previous_hidden, cells, previous_cells, squashed,
        )  # fmt: skip
        ctx.batch_sizes, ctx.clips = batch_sizes, clips
        return outputs, last_hidden, last_cell

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tuple[Optional[Tensor], ...]:
        d_outputs, d_last_hidden, d_last_cell = grads
        (
            inputs, weight_ih, weight_hh, weight_hr, gates, outputs,
            previous_hidden, cells, previous_cells, squashed,
        ) = ctx.saved_tensors  # fmt: skip
        cell_clip, proj_clip = ctx.clips
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
        if cell_clip is not None:
            inside = (cells.abs() < cell_clip).to(cells.dtype)
        projected_inside = None
        if weight_hr is not None and proj_clip is not None:
            projected_inside = (outputs.abs() < proj_clip).to(outputs.dtype)
        d_projected = torch.empty_like(outputs)
        d_hidden, d_cell = d_last_hidden.clone(), d_last_cell.clone()
        end = len(inputs)
        for size in reversed(ctx.batch_sizes):
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
        d_weight_hr = None
        if weight_hr is not None:
            d_weight_hr = d_projected.t() @ (out_gate * squashed)
        return (
            d_gates @ weight_ih,
            d_hidden,
            d_cell,
            d_gates.t() @ inputs,
            d_gates.t() @ previous_hidden,
            d_gates.sum(0),
            d_weight_hr,
            None,
            None,
        )
