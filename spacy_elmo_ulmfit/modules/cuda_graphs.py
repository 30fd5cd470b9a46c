"""CUDA graphs: what starts thousands of small kernels, recorded and started as one.

See https://pytorch.org/docs/stable/notes/cuda.html#cuda-graphs.
"""

from typing import Any, Callable, Dict, Hashable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

Tensors = Tuple[Tensor, ...]
# Recording takes as long as some calls do: it must pay, and each graph keeps its memory.
_RECURRING, _MOST_GRAPHS = 3, 4


class CudaGraph:
    """A function of tensors that a GPU replays as a whole.

    function (Callable[..., Tensors]): It may overwrite its arguments, brings nothing to
        the host, and starts the same kernels whenever the shapes are the same.
    examples (Sequence[Optional[Tensor]]): Arguments of the shapes to come.
    """

    def __init__(
        self, function: Callable[..., Tensors], examples: Sequence[Optional[Tensor]]
    ) -> None:
        self._inputs = [None if part is None else part.clone() for part in examples]
        # Libraries allocate what they need in a first call, which is not recorded.
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            function(*self._inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outputs = function(*self._inputs)

    def __call__(self, *inputs: Optional[Tensor]) -> Tensors:
        """Return what the function returns, in tensors of their own.

        inputs (Optional[Tensor]): The arguments, which are left as they are.
        RETURNS (Tensors): The results.
        """
        for own, given in zip(self._inputs, inputs):
            if own is not None and given is not None:
                own.copy_(given)
        self._graph.replay()
        return tuple(output.clone() for output in self._outputs)


class GraphCache:
    """Graphs of the calls that come again and again, of one module.

    Copies and other processes make their own.

    create (Callable): Records a function: a `CudaGraph`.
    """

    def __init__(
        self, create: Callable[..., Callable[..., Tensors]] = CudaGraph
    ) -> None:
        self._create = create
        self._calls: Dict[Hashable, int] = {}
        self._graphs: Dict[Hashable, Callable[..., Tensors]] = {}

    def run(
        self,
        key: Hashable,
        function: Callable[..., Tensors],
        inputs: Sequence[Optional[Tensor]],
    ) -> Tensors:
        """Call a function, or the graph of it if it has been called like this before.

        key (Hashable): What the function does, beside the shapes of its arguments.
        function (Callable[..., Tensors]): See `CudaGraph`.
        inputs (Sequence[Optional[Tensor]]): Its arguments, which may be overwritten.
        RETURNS (Tensors): The results.
        """
        key = (key, *(None if part is None else _kind(part) for part in inputs))
        graph = self._graphs.get(key)
        if graph is None:
            if not self._is_worth_it(key):
                return function(*inputs)
            graph = self._graphs[key] = self._record(function, inputs)
        return graph(*inputs)

    def _is_worth_it(self, key: Hashable) -> bool:
        if len(self._graphs) >= _MOST_GRAPHS:
            return False
        self._calls[key] = self._calls.get(key, 0) + 1
        return self._calls[key] >= _RECURRING

    def _record(
        self, function: Callable[..., Tensors], inputs: Sequence[Optional[Tensor]]
    ) -> Callable[..., Tensors]:
        try:
            return self._create(function, inputs)
        # Drivers and libraries that cannot record what they do: it is run as it is.
        except RuntimeError:
            return function

    def __deepcopy__(self, memo: Any) -> "GraphCache":
        return GraphCache(self._create)

    def __reduce__(self) -> Tuple[Any, ...]:
        return GraphCache, ()


def _kind(tensor: Tensor) -> Tuple[Hashable, ...]:
    return tensor.shape, tensor.dtype, tensor.device


def can_replay(device: torch.device, batch_sizes: List[int]) -> bool:
    """Return whether a recurrence is worth recording.

    device (torch.device): What computes.
    batch_sizes (List[int]): Running sequences per step.
    RETURNS (bool): On a GPU, for rows of equal length, whose shapes come again.
    """
    is_regular = bool(batch_sizes) and batch_sizes[0] == batch_sizes[-1]
    return device.type == "cuda" and is_regular and not torch.compiler.is_compiling()
