"""The layers of one direction of a biLM (Peters et al. 2018, arXiv:1802.05365)."""

from typing import Iterable, List, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .projected_lstm import ProjectedLSTM
from .recurrence import LSTMState


class ProjectedLSTMStack(nn.ModuleList):
    """LSTMs with projection, one above the other, over a packed batch.

    layers (Iterable[ProjectedLSTM]): The layers, bottom first.
    residual (bool): Whether layers above the first add their input to their output.
    """

    def __init__(self, layers: Iterable[ProjectedLSTM], *, residual: bool) -> None:
        super().__init__(layers)
        self.residual = residual

    def forward(
        self,
        inputs: Tensor,
        batch_sizes: List[int],
        states: List[LSTMState],
        *,
        dropout: float = 0.0,
        window_length: int = 0,
    ) -> Tuple[List[Tensor], List[LSTMState]]:
        """Run all layers.

        inputs (Tensor): Packed input rows. *Shape:* `(n_tokens, width)`
        batch_sizes (List[int]): Running sequences per step.
        states (List[LSTMState]): What each layer starts from, rows in packed order.
        dropout (float): Dropout of every layer's input, in training.
        window_length (int): Steps computed at a time, 0 for all. The state is carried
            from window to window, so the outputs are the same; gradients do not reach
            beyond a window.
        RETURNS (Tuple[List[Tensor], List[LSTMState]]): Packed outputs
            `(n_tokens, width)` and last states, of each layer.
        """
        if not window_length or len(batch_sizes) <= window_length:
            return self._run_window(inputs, batch_sizes, states, dropout)
        windows, start = [], 0
        for step in range(0, len(batch_sizes), window_length):
            sizes = batch_sizes[step : step + window_length]
            end = start + sum(sizes)
            outputs, last = self._run_window(inputs[start:end], sizes, states, dropout)
            windows.append(outputs)
            states, start = [(h.detach(), c.detach()) for h, c in last], end
        return [torch.cat(parts) for parts in zip(*windows)], states

    def _run_window(
        self,
        inputs: Tensor,
        batch_sizes: List[int],
        states: List[LSTMState],
        dropout: float,
    ) -> Tuple[List[Tensor], List[LSTMState]]:
        outputs, last_states = [], []
        for number, (layer, state) in enumerate(zip(self, states)):
            # Dropout lies outside the residual connection, as in bilm-tf.
            inputs = F.dropout(inputs, dropout, self.training)
            output, last_state = layer(inputs, batch_sizes, state)
            if self.residual and number > 0:
                output = output + inputs
            outputs.append(output)
            last_states.append(last_state)
            inputs = output
        return outputs, last_states
