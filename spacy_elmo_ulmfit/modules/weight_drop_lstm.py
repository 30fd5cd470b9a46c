"""LSTM layer with dropout on its recurrent matrix (Merity et al. 2017, arXiv:1708.02182)."""

from typing import List, Sequence, Tuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .prepared import Prepared
from .products import Precision, create_product, multiplies_by_products
from .recurrence import Clips, LayerProducts, predict

# From here on oneDNN's kernels for prediction are as fast as those for training.
_MANY_ROWS = 128


class WeightDropLSTM(nn.LSTM):
    """One LSTM layer with dropout on its hidden-to-hidden matrix.

    The dropped matrix is passed to the kernel, never written into the module, so
    the parameters stay what they are and prediction costs nothing extra.

    input_dim (int): Width of the input.
    output_dim (int): Width of the output.
    """

    # Type of the numbers multiplied in prediction; `usable_precision` says which.
    precision: Precision = "fp32"

    def __init__(self, input_dim: int, output_dim: int) -> None:
        super().__init__(input_dim, output_dim, batch_first=True)
        self._prepared: Prepared[LayerProducts] = Prepared()

    @property
    def state_widths(self) -> Tuple[int, ...]:
        """Widths of output and cell, which are carried on."""
        return self.hidden_size, self.hidden_size

    def run(
        self, inputs: Tensor, state: Tuple[Tensor, ...], weight_dropout: float
    ) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        """Run the layer, with one weight mask for the whole call.

        inputs (Tensor): *Shape:* `(batch, n_steps, input_dim)`
        state (Tuple[Tensor, ...]): Output and cell, `(1, batch, output_dim)` each.
        weight_dropout (float): Dropout of the hidden-to-hidden matrix; only in training.
        RETURNS (Tuple[Tensor, Tuple[Tensor, ...]]): Outputs
            `(batch, n_steps, output_dim)` and the last state.
        """
        if multiplies_by_products(self, self.precision):
            return self._predict(inputs, state)
        hidden_weight = cast(Tensor, self.weight_hh_l0)
        weights = [
            cast(Tensor, self.weight_ih_l0),
            F.dropout(hidden_weight, weight_dropout, self.training),
            cast(Tensor, self.bias_ih_l0),
            cast(Tensor, self.bias_hh_l0),
        ]
        if not self.training and _is_faster_in_training(inputs):
            with torch.enable_grad():
                return self._call(
                    inputs.detach(),
                    tuple(part.detach() for part in state),
                    [weight.detach() for weight in weights],
                )
        return self._call(inputs, state, weights)

    def _predict(
        self, inputs: Tensor, state: Tuple[Tensor, ...]
    ) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        n_rows, n_steps, _ = inputs.shape
        weights = (self.weight_ih_l0, self.weight_hh_l0, self.bias_hh_l0)
        products = self._prepared.get(
            self._prepare, cast(Sequence[Tensor], weights), self.precision
        )
        outputs, (hidden, cell) = predict(
            inputs.transpose(0, 1).flatten(0, 1),
            [n_rows] * n_steps,
            (state[0][0], state[1][0]),
            products,
            Clips(),
        )
        outputs = outputs.unflatten(0, (n_steps, n_rows)).transpose(0, 1)
        return outputs, (hidden.unsqueeze(0), cell.unsqueeze(0))

    def _prepare(self) -> LayerProducts:
        bias = cast(Tensor, self.bias_ih_l0) + cast(Tensor, self.bias_hh_l0)
        weights = cast(Tensor, self.weight_ih_l0), cast(Tensor, self.weight_hh_l0)
        return LayerProducts(
            create_product(weights[0], bias, precision=self.precision),
            create_product(weights[1], precision=self.precision),
        )

    def _call(
        self, inputs: Tensor, state: Tuple[Tensor, ...], weights: List[Tensor]
    ) -> Tuple[Tensor, Tuple[Tensor, ...]]:
        # Arguments: has_biases, num_layers, dropout, train, bidirectional, batch_first.
        output, hidden, cell = torch._VF.lstm(
            inputs, state, weights, True, 1, 0.0, self.training, False, True
        )
        return output, (hidden, cell)


def _is_faster_in_training(inputs: Tensor) -> bool:
    """Tell whether oneDNN's kernel for training is the faster one for prediction.

    It is chosen by whether gradients are enabled, and computes the same to rounding.
    """
    return (
        inputs.device.type == "cpu"
        and not torch.is_grad_enabled()
        and len(inputs) < _MANY_ROWS
    )
