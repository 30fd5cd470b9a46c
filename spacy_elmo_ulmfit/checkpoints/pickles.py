"""Torch files of others, read without running anything that is in them."""

import pickle
from typing import Any, BinaryIO, Dict

import torch
from torch import Tensor

from .files import check_start


def load_weights(file: BinaryIO, name: str) -> Any:
    """Read a torch file that holds tensors and plain values alone.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    RETURNS (Any): What is in it.
    RAISES (ValueError): If it holds anything else, or is damaged.
    """
    check_start(file, name)
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{name} holds more than weights, and reading it could run code that came "
            "with it, so it is refused. Where you trust the file, load it with the "
            "program that wrote it and save its weights alone: "
            "torch.save(model.state_dict(), PATH)."
        ) from error
    except (RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{name} is no readable torch file ({reason}). Was it copied completely?"
        ) from error


def load_state_dict(file: BinaryIO, name: str) -> Dict[str, Tensor]:
    """Read the state dict of a torch module.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    RETURNS (Dict[str, Tensor]): The tensors by name, as float32.
    RAISES (ValueError): If it is damaged, or holds anything else.
    """
    state = load_weights(file, name)
    if not isinstance(state, dict) or not any(
        isinstance(value, Tensor) for value in state.values()
    ):
        raise ValueError(
            f"{name} holds no weights by name, but a {type(state).__name__}. It must be "
            "what torch.save(model.state_dict(), PATH) writes."
        )
    return {
        str(key): value.float() if value.is_floating_point() else value
        for key, value in state.items()
        if isinstance(value, Tensor)
    }
