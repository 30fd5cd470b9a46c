"""The state that a biLM of the older tools carries from batch to batch."""

from dataclasses import dataclass
from typing import Any, List, Optional, cast

import torch
from thinc.api import Model
from thinc.model import deserialize_attr, serialize_attr

from ..modules.bilm_state import BiLMState
from ..modules.projected_lstm import LSTMState

CARRIED = "spacy_elmo_ulmfit_carried_state"


@dataclass
class CarriedState:
    """Where each row of the batches stands; never stored.

    state (Optional[BiLMState]): The rows' last states, `None` before the first batch.
    """

    state: Optional[BiLMState] = None

    def first(self, n_rows: int, zeros: BiLMState) -> BiLMState:
        """Return the states that the first rows start from; new rows start from zeros.

        n_rows (int): Number of rows.
        zeros (BiLMState): Zeros for that many rows.
        """
        if self.state is None:
            return zeros
        return BiLMState(
            *(_overwrite(new, old, n_rows) for new, old in zip(zeros, self.state))
        )

    def store(self, state: BiLMState) -> None:
        """Keep the rows' last states; rows that the batch did not have stay."""
        state, n_rows = state.detach(), _n_rows(state)
        if self.state is not None and _n_rows(self.state) > n_rows:
            state = BiLMState(
                *(_overwrite(old, new, n_rows) for old, new in zip(self.state, state))
            )
        self.state = state


@serialize_attr.register(CarriedState)
def _serialize_state(_: Any, value: CarriedState, name: str, model: Model) -> bytes:
    return b""


@deserialize_attr.register(CarriedState)
def _deserialize_state(_: Any, value: bytes, name: str, model: Model) -> CarriedState:
    return CarriedState()


def carried_state(model: Model) -> CarriedState:
    """Return the carried state of a biLM's model."""
    return cast(CarriedState, model.attrs[CARRIED])


def _n_rows(state: BiLMState) -> int:
    return len(state.forward[0][0])


def _overwrite(
    target: List[LSTMState], source: List[LSTMState], n_rows: int
) -> List[LSTMState]:
    """Return `target` with its first rows, at most `n_rows`, taken from `source`."""
    result = []
    for pair, other in zip(target, source):
        parts = [
            torch.cat([s[:n_rows], t[len(s[:n_rows]) :]]) for t, s in zip(pair, other)
        ]
        result.append((parts[0], parts[1]))
    return result
