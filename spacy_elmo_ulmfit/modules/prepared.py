"""What is computed from weights in advance, as long as they stay what they are."""

from typing import Any, Callable, Generic, Hashable, Iterable, Optional, Tuple, TypeVar

from torch import Tensor

_SAMPLE = 256

T = TypeVar("T")


class Prepared(Generic[T]):
    """Keeps one thing that prediction needs. Copies and other processes make their own."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Let go of it."""
        self._key: Hashable = None
        self._value: Optional[T] = None

    def get(
        self, prepare: Callable[[], T], weights: Iterable[Tensor], *settings: Hashable
    ) -> T:
        """Return it, made anew where something has changed.

        prepare (Callable[[], T]): Makes it.
        weights (Iterable[Tensor]): The weights it is made of, as `weights_key` takes them.
        settings (Hashable): What else it depends on.
        RETURNS (T): What `prepare` returned.
        """
        key = (*settings, weights_key(weights))
        if self._value is None or key != self._key:
            self._value, self._key = prepare(), key
        return self._value

    def __deepcopy__(self, memo: Any) -> "Prepared[T]":
        return Prepared()

    def __reduce__(self) -> Tuple[Any, ...]:
        # Packed matrices belong to this process.
        return Prepared, ()


def weights_key(weights: Iterable[Tensor]) -> Hashable:
    """Return a value that differs after weights have changed.

    weights (Iterable[Tensor]): All weights that matter; one that every step of an
        optimizer changes comes last, such as a bias.
    RETURNS (Hashable): The key.
    """
    # An optimizer changes the version, or the storage, and a fused one neither; but each
    # changes the last weight.
    tensors = [weight.detach() for weight in weights]
    last = tensors[-1].flatten()[-_SAMPLE:].cpu().numpy().tobytes()
    return (last, *((tensor.data_ptr(), tensor._version) for tensor in tensors))
