"""What changes whenever weights do: the key of anything computed from them in advance."""

from typing import Hashable, Iterable

from torch import Tensor

_SAMPLE = 256


def weights_key(weights: Iterable[Tensor]) -> Hashable:
    """Return a value that differs after weights have changed.

    weights (Iterable[Tensor]): All weights that matter; one that every step of an
        optimizer changes comes last, such as a bias.
    RETURNS (Hashable): The key.
    """
    # An optimizer of torch changes the version, one of thinc the storage, and a fused
    # one neither; but each changes the last weight.
    tensors = [weight.detach() for weight in weights]
    last = tensors[-1].flatten()[-_SAMPLE:].cpu().numpy().tobytes()
    return (last, *((tensor.data_ptr(), tensor._version) for tensor in tensors))
