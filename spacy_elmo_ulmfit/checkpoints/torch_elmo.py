"""What the torch weights of AllenNLP and of ELMoForManyLangs have in common."""

from typing import Dict, List, Tuple

import torch
from torch import Tensor

State = Dict[str, Tensor]

# Our names of an LSTM's weights, and theirs.
_LSTM_PARTS = {
    "weight_ih": "input_linearity.weight",
    "weight_hh": "state_linearity.weight",
    "bias": "state_linearity.bias",
    "weight_hr": "state_projection.weight",
}


def get_tensor(state: State, key: str, name: str) -> Tensor:
    """Return a tensor, or say which file lacks it."""
    if key not in state:
        raise ValueError(
            f"{name} lacks the weights {key}, so it is not the biLM that its other "
            "weights belong to. Was it saved completely?"
        )
    return state[key]


def highways(state: State, prefix: str, name: str) -> State:
    """Translate highway layers.

    Their gate lets the input through, ours the transformed part; since
    `1 - sigmoid(z) = sigmoid(-z)`, the sign of its weights tells them apart.

    state (Dict[str, Tensor]): Their weights.
    prefix (str): What precedes `highways._layers`.
    name (str): The file, for error messages.
    RETURNS (Dict[str, Tensor]): Ours, below `token_encoder.characters`.
    """
    result = {}
    for k in range(count(state, f"{prefix}highways._layers.{{}}.weight")):
        for kind in ("weight", "bias"):
            both = get_tensor(state, f"{prefix}highways._layers.{k}.{kind}", name)
            transform, carry = both.chunk(2)
            ours = f"token_encoder.characters.highways.{k}"
            result[f"{ours}.transform.{kind}"] = transform
            result[f"{ours}.gate.{kind}"] = -carry
    return result


def lstms(state: State, prefix: str, name: str) -> Tuple[State, int]:
    """Translate the LSTMs of both directions.

    state (Dict[str, Tensor]): Their weights.
    prefix (str): What precedes `forward_layer_0`.
    name (str): The file, for error messages.
    RETURNS (Tuple[Dict[str, Tensor], int]): Ours, and the number of layers.
    """
    n_layers = count(state, f"{prefix}forward_layer_{{}}.input_linearity.weight")
    if not n_layers:
        raise ValueError(
            f"{name} has no {prefix}forward_layer_0, so it holds no ELMo LSTM. Only "
            "biLMs with projected LSTMs can be read."
        )
    result = {}
    for direction in ("forward", "backward"):
        for layer in range(n_layers):
            for ours, theirs in _LSTM_PARTS.items():
                key = f"{prefix}{direction}_layer_{layer}.{theirs}"
                result[f"{direction}_layers.{layer}.{ours}"] = get_tensor(
                    state, key, name
                )
    return result, n_layers


def count(state: State, pattern: str) -> int:
    """Count the weights whose names are a pattern filled with 0, 1, 2, ..."""
    n = 0
    while pattern.format(n) in state:
        n += 1
    return n


def filter_sizes(state: State, pattern: str) -> List[List[int]]:
    """Return `[width, number]` of convolutions, from their weights."""
    shapes = [state[pattern.format(i)].shape for i in range(count(state, pattern))]
    return [[int(shape[2]), int(shape[0])] for shape in shapes]


def warm_state(n_layers: int, projection_dim: int, cell_dim: int) -> State:
    """Return zeros for the state that imported weights do not have yet."""
    return {
        "warm_hidden": torch.zeros(2, n_layers, 1, projection_dim),
        "warm_cell": torch.zeros(2, n_layers, 1, cell_dim),
    }


def check_shapes(state: State, expected: State, name: str) -> None:
    """Make sure that translated weights are those of the module to be built.

    state (Dict[str, Tensor]): The translated weights.
    expected (Dict[str, Tensor]): The module's own.
    name (str): The file, for error messages.
    RAISES (ValueError): Naming the first that differs.
    """
    for key in sorted(expected):
        found = get_tensor(state, key, name)
        if found.shape != expected[key].shape:
            raise ValueError(
                f"{name}: {_their_name(key)} has the shape {tuple(found.shape)}, but the other "
                f"weights mean {tuple(expected[key].shape)}. The file is damaged, or "
                "its options belong to another model."
            )


def _their_name(key: str) -> str:
    """Return the name that a weight of an LSTM has in their files."""
    layers, *number, part = key.split(".")
    if part not in _LSTM_PARTS or not layers.endswith("_layers"):
        return key
    return f"{layers[:-1]}_{number[0]}.{_LSTM_PARTS[part]}"
