"""The datasets of bilm-tf's HDF5 files, and what each is here.

Sources: bilm-tf's `bilm/model.py` and AllenNLP's `modules/elmo.py`.
"""

from typing import Callable, List, NamedTuple, Tuple

import torch
from torch import Tensor

from ..modules.bilm import BiLMConfig

OPTIONS_FILE, WEIGHTS_FILE, VOCABULARY_FILE = (
    "options.json",
    "weights.hdf5",
    "vocab.txt",
)
# Words of the softmax, where the model reads other words than it predicts.
SOFTMAX_VOCABULARY_FILE = "softmax_vocab.txt"
# What the older tools have no place for, and do not look at: the softmax, how often its
# words were seen, and the state that sequences start from.
SOFTMAX_WEIGHT, SOFTMAX_BIAS, SOFTMAX_COUNTS = (
    "softmax/W",
    "softmax/b",
    "softmax/counts",
)
WARM_STATE = {"warm_hidden": "initial_state/hidden", "warm_cell": "initial_state/cell"}
CELL = "RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
# bilm-tf leaves the number of the cell out where there is only one.
ONLY_CELL = "RNN_{direction}/RNN/LSTMCell"


class Entry(NamedTuple):
    """One dataset and what it is here.

    dataset (str): Path in the HDF5 file.
    shape (Tuple[int, ...]): Its shape.
    names (Tuple[str, ...]): Our tensors.
    to_ours (Callable): From the dataset to our tensors.
    to_theirs (Callable): The inverse, to the bit.
    """

    dataset: str
    shape: Tuple[int, ...]
    names: Tuple[str, ...]
    to_ours: Callable[[Tensor], Tuple[Tensor, ...]]
    to_theirs: Callable[..., Tensor]


def dataset_entries(config: BiLMConfig, cell: str) -> List[Entry]:
    """List all datasets of a model."""
    entries = _character_entries(config) if config.filters else _word_entries(config)
    directions = ("forward", "backward") if config.bidirectional else ("forward",)
    for number, direction in enumerate(directions):
        for layer in range(config.n_layers):
            path = cell.format(direction=number, layer=layer)
            entries += _lstm_entries(config, path, f"{direction}_layers.{layer}")
    if config.n_words and not config.tie_softmax:
        shape = (config.n_words, config.projection_dim)
        entries.append(Entry(SOFTMAX_WEIGHT, shape, ("head.weight",), _same, _first))
    if config.n_words:
        entries.append(
            Entry(SOFTMAX_BIAS, (config.n_words,), ("head.bias",), _same, _first)
        )
    return entries


def _word_entries(config: BiLMConfig) -> List[Entry]:
    shape = (config.n_input_words, config.projection_dim)
    names = ("token_encoder.words.weight",)
    return [Entry("embedding", shape, names, _add_row, _drop_row)]


def _character_entries(config: BiLMConfig) -> List[Entry]:
    ours = "token_encoder.characters"
    n_filters = sum(number for _, number in config.filters)
    shape: Tuple[int, ...] = (config.n_characters - 1, config.char_dim)
    names: Tuple[str, ...] = (f"{ours}.embedding.weight",)
    entries = [Entry("char_embed", shape, names, _add_row, _drop_row)]
    for i, (width, number) in enumerate(config.filters):
        shape = (1, width, config.char_dim, number)
        names = (f"{ours}.convolutions.{i}.weight",)
        entries.append(
            Entry(f"CNN/W_cnn_{i}", shape, names, _read_filter, _write_filter)
        )
        names = (f"{ours}.convolutions.{i}.bias",)
        entries.append(Entry(f"CNN/b_cnn_{i}", (number,), names, _same, _first))
    for k in range(config.n_highway):
        # What the files call "carry" is the gate of the transformed part.
        for name, theirs in (("gate", "carry"), ("transform", "transform")):
            entries += _linear_entries(
                f"CNN_high_{k}/{{}}_{theirs}",
                (n_filters, n_filters),
                f"{ours}.highways.{k}.{name}",
            )
    if config.project_tokens or (
        config.project_tokens is None and n_filters != config.projection_dim
    ):
        shape = (n_filters, config.projection_dim)
        entries += _linear_entries(
            "CNN_proj/{}_proj", shape, "token_encoder.projection"
        )
    return entries


def _lstm_entries(config: BiLMConfig, path: str, ours: str) -> List[Entry]:
    width, cells = config.projection_dim, config.cell_dim
    missing = 1.0 - config.forget_bias

    def read_bias(array: Tensor) -> Tuple[Tensor, ...]:
        return (_swap_gates(array),)

    def write_bias(bias: Tensor) -> Tensor:
        if missing:
            bias = bias.clone()
            bias[cells : 2 * cells] -= missing
        return _swap_gates(bias)

    names = (f"{ours}.weight_ih", f"{ours}.weight_hh")
    shape = (2 * width, 4 * cells)
    entries = [
        Entry(f"{path}/W_0", shape, names, _read_gates, _write_gates),
        Entry(f"{path}/B", (4 * cells,), (f"{ours}.bias",), read_bias, write_bias),
    ]
    if config.project_cells or (config.project_cells is None and cells != width):
        names = (f"{ours}.weight_hr",)
        shape = (cells, width)
        entries.append(Entry(f"{path}/W_P_0", shape, names, _transposed, _transpose))
    return entries


def _linear_entries(path: str, shape: Tuple[int, int], ours: str) -> List[Entry]:
    return [
        Entry(path.format("W"), shape, (f"{ours}.weight",), _transposed, _transpose),
        Entry(path.format("b"), shape[1:], (f"{ours}.bias",), _same, _first),
    ]


def _same(array: Tensor) -> Tuple[Tensor, ...]:
    return (array,)


def _first(tensor: Tensor) -> Tensor:
    return tensor


def _transposed(array: Tensor) -> Tuple[Tensor, ...]:
    return (array.t(),)


def _transpose(tensor: Tensor) -> Tensor:
    return tensor.t()


def _add_row(array: Tensor) -> Tuple[Tensor, ...]:
    # Our row 0 is for masked positions.
    return (torch.cat([array.new_zeros(1, array.shape[1]), array]),)


def _drop_row(tensor: Tensor) -> Tensor:
    return tensor[1:]


def _read_filter(array: Tensor) -> Tuple[Tensor, ...]:
    return (array[0].permute(2, 1, 0),)


def _write_filter(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 1, 0).unsqueeze(0)


def _swap_gates(gates: Tensor) -> Tensor:
    """Exchange the middle blocks: input, candidate, forget, output and torch's order."""
    first, second, third, fourth = gates.chunk(4)
    return torch.cat([first, third, second, fourth])


def _read_gates(array: Tensor) -> Tuple[Tensor, ...]:
    weight = _swap_gates(array.t())
    return weight.split(weight.shape[1] // 2, dim=1)


def _write_gates(weight_ih: Tensor, weight_hh: Tensor) -> Tensor:
    return _swap_gates(torch.cat([weight_ih, weight_hh], dim=1)).t()
