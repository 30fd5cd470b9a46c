"""The steps of an LSTM in prediction, by matrices that were prepared for them.

Gates are in torch's order: input, forget, candidate, output.
"""

import functools
from typing import Callable, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .products import Product

LSTMState = Tuple[Tensor, Tensor]
# From gates, cell and the bound of the cell, as `activate`.
Activation = Callable[[Tensor, Tensor, Optional[float]], Tensor]

# Numbers of the input product that are kept at a time: what a cache holds.
_WINDOW_NUMBERS = 2**20


class Clips(NamedTuple):
    """Bounds of absolute values, `None` for none.

    cell (Optional[float]): Of the memory cell.
    projection (Optional[float]): Of the projected output.
    """

    cell: Optional[float] = None
    projection: Optional[float] = None


class LayerProducts(NamedTuple):
    """The matrices of a layer, prepared for prediction.

    input (Product): From the input to the gates, with all biases.
    hidden (Product): From the output of the step before to the gates.
    projection (Optional[Product]): From the squashed cell to the output.
    """

    input: Product
    hidden: Product
    projection: Optional[Product] = None


def activate(gates: Tensor, cell: Tensor, clip: Optional[float]) -> Tensor:
    """Turn `gates` into activations and `cell` into the new cell, in place.

    gates (Tensor): Sums of input and recurrent product. *Shape:* `(batch, 4 * cell_dim)`
    cell (Tensor): The cell of the step before. *Shape:* `(batch, cell_dim)`
    clip (Optional[float]): Bound of the cell, `None` for none.
    RETURNS (Tensor): `tanh` of the new cell.
    """
    width = cell.shape[1]
    gates[:, : 2 * width].sigmoid_()
    gates[:, 3 * width :].sigmoid_()
    candidate = gates[:, 2 * width : 3 * width].tanh_()
    cell.mul_(gates[:, width : 2 * width]).addcmul_(gates[:, :width], candidate)
    if clip is not None:
        cell.clamp_(-clip, clip)
    return torch.tanh(cell)


def activation_on(device: torch.device) -> Activation:
    """Return `activate`, as a single kernel where starting kernels is what takes time.

    device (torch.device): What computes.
    RETURNS (Activation): On a GPU a compiled form, where torch can compile there; on a
        CPU `activate` itself, which torch computes faster than what it compiles.
    """
    return compile_activation(device) if device.type == "cuda" else activate


@functools.lru_cache(maxsize=None)
def compile_activation(device: torch.device) -> Activation:
    """Compile `activate` for batches of any size.

    device (torch.device): What computes.
    RETURNS (Activation): The same to rounding; `activate` itself where it does not compile.
    """
    try:
        compiled: Activation = torch.compile(activate, dynamic=True)
        return compiled if _agrees(compiled, device) else activate
    # What fails here is a compiler, by errors of many private kinds.
    except Exception:
        return activate


def _agrees(activation: Activation, device: torch.device) -> bool:
    gates = torch.linspace(-4, 4, 48, device=device).view(3, 16)
    cell = torch.linspace(-2, 2, 12, device=device).view(3, 4)
    results = []
    for function in (activation, activate):
        numbers = gates.clone(), cell.clone()
        results.append((function(*numbers, 1.0), *numbers))
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(*results))


def predict(
    inputs: Tensor,
    batch_sizes: List[int],
    state: LSTMState,
    products: LayerProducts,
    clips: Clips,
) -> Tuple[Tensor, LSTMState]:
    """Run the recurrence without autograd: nothing is kept but the outputs.

    inputs (Tensor): Packed input rows. *Shape:* `(n_tokens, input_dim)`
    batch_sizes (List[int]): Running sequences per step.
    state (LSTMState): Initial output `(batch, output_dim)` and cell `(batch, cell_dim)`,
        rows in packed order.
    products (LayerProducts): The matrices.
    clips (Clips): The bounds.
    RETURNS (Tuple[Tensor, LSTMState]): Packed outputs `(n_tokens, output_dim)`, and each
        sequence's last state.
    """
    activate_step = activation_on(inputs.device)
    last_hidden, last_cell = state[0].clone(), state[1].clone()
    outputs = inputs.new_empty(len(inputs), last_hidden.shape[1])
    width = last_cell.shape[1]
    n_rows = _WINDOW_NUMBERS // (4 * width)
    start, window_start, window_end = 0, 0, 0
    hidden, cell, window = last_hidden, last_cell, outputs
    for size in batch_sizes:
        end = start + size
        if end > window_end:
            window_start = start
            window_end = max(end, min(start + n_rows, len(inputs)))
            window = products.input(inputs[window_start:window_end])
        if size < len(cell):
            last_hidden[size : len(hidden)] = hidden[size:]
            hidden, cell = hidden[:size], cell[:size]
        gates = products.hidden.add_to(
            window[start - window_start : end - window_start], hidden
        )
        squashed = activate_step(gates, cell, clips.cell)
        hidden = squashed.mul_(gates[:, 3 * width :])
        if products.projection is not None:
            hidden = products.projection(hidden).to(outputs.dtype)
            if clips.projection is not None:
                hidden.clamp_(-clips.projection, clips.projection)
        outputs[start:end] = hidden
        start = end
    last_hidden[: len(hidden)] = hidden
    return outputs, (last_hidden, last_cell)
