"""Tensors of a file, taken out one after the other, so that none is overlooked."""

from typing import Dict, List, Mapping, NamedTuple, Optional

from torch import Tensor


class Named(NamedTuple):
    """A tensor of a file.

    key (str): Its name there.
    tensor (Tensor): The tensor.
    """

    key: str
    tensor: Tensor


class Tensors:
    """Tensors of a file.

    state (Mapping[str, Tensor]): The tensors by name.
    name (str): The file, for error messages.
    """

    def __init__(self, state: Mapping[str, Tensor], name: str) -> None:
        self.name = name
        self._unread: Dict[str, Tensor] = dict(state)

    @property
    def unread(self) -> List[str]:
        """Names of the tensors that nothing has asked for yet."""
        return list(self._unread)

    def find(self, *keys: str) -> Optional[Named]:
        """Return the first of some tensors that is there; they all count as read.

        keys (str): Names that one and the same tensor may have, the best one first.
        RETURNS (Optional[Named]): The tensor, `None` if there is none.
        """
        found = [
            Named(key, self._unread.pop(key)) for key in keys if key in self._unread
        ]
        return found[0] if found else None

    def get(self, *keys: str) -> Named:
        """Return what `find` does; it is an error if there is none."""
        found = self.find(*keys)
        if found is None:
            raise ValueError(
                f"{self.name} lacks the weights {keys[0]}, without which the others are no "
                "whole model. Was it saved completely?"
            )
        return found


def check_shapes(
    found: Mapping[str, Named], expected: Mapping[str, Tensor], name: str
) -> None:
    """Make sure that tensors have the shapes of the module to be built.

    found (Mapping[str, Named]): The file's tensors, by our names.
    expected (Mapping[str, Tensor]): The module's own.
    name (str): The file, for error messages.
    RAISES (ValueError): Naming the first that differs.
    """
    for ours, (key, tensor) in found.items():
        if tensor.shape != expected[ours].shape:
            raise ValueError(
                f"{name}: {key} has the shape {tuple(tensor.shape)}, but the other "
                f"weights mean {tuple(expected[ours].shape)}. The file is damaged, or no "
                "AWD-LSTM with a tied softmax."
            )
