"""The state that is carried from window to window, as a checkpoint holds it."""

from typing import Any, List

import torch

from ..modules.bilm import BiLMState


def plain_state(state: Any) -> List[Any]:
    """Return the tensors of a state in lists, which a checkpoint can hold.

    state (Any): The carried state.
    """
    return [list(part) if isinstance(part, list) else part for part in state]


def restored_state(stored: List[Any], like: Any, device: torch.device) -> Any:
    """Return a state from what a checkpoint holds.

    stored (List[Any]): What `plain_state` returned.
    like (Any): A state of the same language model.
    device (torch.device): Where it is used.
    RETURNS (Any): The carried state.
    """
    parts = _to_device(stored, device)
    return BiLMState(*parts) if isinstance(like, BiLMState) else parts


def _to_device(state: Any, device: torch.device) -> Any:
    if isinstance(state, torch.Tensor):
        return state.to(device)
    return type(state)(_to_device(part, device) for part in state)
