"""LSTM with recurrent projection and clipping, the recurrence of ELMo's biLM.

Sak et al. 2014 (arXiv:1402.1128) gives the projected LSTM; the clips are those of
the published biLM (Peters et al. 2018, arXiv:1802.05365). `torch.nn.LSTM` with
`proj_size` cannot clip and therefore computes other numbers.
"""

import functools
from typing import List, Optional, Tuple

import torch
from torch import Tensor, nn

from .cuda_graphs import GraphCache
from .prepared import Prepared
from .products import Precision, create_product
from .projected_recurrence import LayerWeights, run_with_gradients
from .recurrence import Clips, LayerProducts, LSTMState, predict


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
        self._graphs = GraphCache()
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
        weights = LayerWeights(self.weight_ih, self.weight_hh, bias, self.weight_hr)
        return run_with_gradients(
            inputs, batch_sizes, state, weights, clips, self._graphs
        )

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
