"""The state that is carried from window to window, as a checkpoint holds it."""

from typing import Any, List, NamedTuple, Sequence

import torch

from ...modules.bilm_state import BiLMState
from ..workers import Workers


class DistillationState(NamedTuple):
    """Where a student and its teacher stand in one text.

    student (Any): The carried state of the student.
    teacher (Any): That of the teacher.
    """

    student: Any
    teacher: Any


def plain_state(state: Any) -> List[Any]:
    """Return the tensors of a state in lists, which a checkpoint can hold.

    state (Any): The carried state.
    """
    if isinstance(state, DistillationState):
        return [plain_state(part) for part in state]
    return [list(part) if isinstance(part, list) else part for part in state]


def join_states(states: Sequence[Any]) -> Any:
    """Put the rows of several states one after the other.

    states (Sequence[Any]): What `plain_state` returned in each process.
    RETURNS (Any): A state of the same form.
    """
    if isinstance(states[0], torch.Tensor):
        return torch.cat(list(states), dim=-2)
    return type(states[0])(join_states(parts) for parts in zip(*states))


def share_of_state(state: Any, workers: Workers) -> Any:
    """Return the rows of one process.

    state (Any): What `join_states` returned.
    workers (Workers): The process among the others.
    RETURNS (Any): A state of the same form.
    """
    if isinstance(state, torch.Tensor):
        return state[..., workers.share_of(state.shape[-2]), :]
    return type(state)(share_of_state(part, workers) for part in state)


def restored_state(stored: List[Any], like: Any, device: torch.device) -> Any:
    """Return a state from what a checkpoint holds.

    stored (List[Any]): What `plain_state` returned.
    like (Any): A state of the same language model.
    device (torch.device): Where it is used.
    RETURNS (Any): The carried state.
    """
    if isinstance(like, DistillationState):
        pairs = zip(stored, like)
        return DistillationState(*(restored_state(*pair, device) for pair in pairs))
    parts = _to_device(stored, device)
    return BiLMState(*parts) if isinstance(like, BiLMState) else parts


def _to_device(state: Any, device: torch.device) -> Any:
    if isinstance(state, torch.Tensor):
        return state.to(device)
    return type(state)(_to_device(part, device) for part in state)
