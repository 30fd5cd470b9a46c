"""Where the directions of a biLM stand in their texts."""

from typing import Callable, List, NamedTuple, Sequence

from torch import Tensor

from .recurrence import LSTMState


class BiLMState(NamedTuple):
    """States of both directions, one per layer, a row per sequence.

    Those of the backward direction are an empty list in a forward model.
    """

    forward: List[LSTMState]
    backward: List[LSTMState]

    @classmethod
    def of(cls, directions: Sequence[List[LSTMState]]) -> "BiLMState":
        """Return the state of one direction, or of both.

        directions (Sequence[List[LSTMState]]): Forward, and backward if there is one.
        RETURNS (BiLMState): Their state.
        """
        return cls(directions[0], directions[1] if len(directions) > 1 else [])

    def map(self, function: Callable[[Tensor], Tensor]) -> "BiLMState":
        """Return a state in which every tensor is another.

        function (Callable[[Tensor], Tensor]): What it becomes.
        RETURNS (BiLMState): The new state.
        """
        return BiLMState(
            *(
                [(function(hidden), function(cell)) for hidden, cell in layers]
                for layers in self
            )
        )

    def select(self, rows: Tensor) -> "BiLMState":
        """Return the state of some sequences.

        rows (Tensor): Which ones. *Shape:* `(n_selected,)`
        RETURNS (BiLMState): Their state.
        """
        return self.map(lambda part: part[rows])

    def detach(self) -> "BiLMState":
        """Return a state that gradients do not pass."""
        return self.map(Tensor.detach)
