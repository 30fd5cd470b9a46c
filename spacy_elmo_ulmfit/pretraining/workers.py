"""The processes of a training: one alone, or several in step, as torchrun starts them."""

import contextlib
import datetime
import os
import time
from dataclasses import dataclass
from typing import Any, Callable, Iterator, List, Optional, Sequence

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

# Others wait while the first one prepares a corpus or evaluates.
_TIMEOUT = datetime.timedelta(hours=12)
# Seconds that background threads get to finish in before a process ends.
_GRACE_S = 0.2


Function = Callable[..., Any]


class _FunctionOfModule(nn.Module):
    """What is computed with a module, as a module: what torch can run in parallel."""

    def __init__(self, function: Function, module: nn.Module) -> None:
        super().__init__()
        self.module, self.function = module, function

    def forward(self, *args: Any) -> Any:
        """Compute it."""
        return self.function(*args)


@dataclass(frozen=True)
class Workers:
    """What a process has to know of the others, and how it speaks with them.

    rank (int): Number of this process.
    size (int): Number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process writes, logs and evaluates for all."""
        return self.rank == 0

    def share_of(self, n_rows: int) -> slice:
        """Return the rows of this process.

        n_rows (int): Number of rows of all processes, a multiple of their number.
        """
        share = n_rows // self.size
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum(self, values: Sequence[float]) -> List[float]:
        """Add up the values of all processes.

        values (Sequence[float]): Those of this process, as many in each.
        RETURNS (List[float]): The sums, the same in all processes.
        """
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total)
        return total.tolist()

    def gather(self, value: Any) -> List[Any]:
        """Collect a value of each process.

        value (Any): That of this process.
        RETURNS (List[Any]): All values by rank in the first process, nothing in others.
        """
        if self.size == 1:
            return [value]
        values: Optional[List[Any]] = [None] * self.size if self.is_main else None
        dist.gather_object(value, values)
        return values or []

    def broadcast(self, value: Any) -> Any:
        """Return the first process's value in all of them.

        value (Any): A value; those of the other processes do not matter.
        """
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values)
        return values[0]

    @contextlib.contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the first process do something before all others do it."""
        if self.size > 1 and not self.is_main:
            dist.barrier()
        yield
        # An error in the first process ends it, and thereby the others.
        if self.size > 1 and self.is_main:
            dist.barrier()

    def parallel(
        self, function: Function, module: nn.Module, *, some_unused: bool = False
    ) -> Function:
        """Return a function after whose backward pass all processes have one gradient.

        function (Callable): Computes something with the module.
        module (nn.Module): What is trained; its weights become those of the first process.
        some_unused (bool): Whether some of its parameters may get no gradient.
        RETURNS (Callable): Computes the same. A gradient is the mean of those of all
            processes.
        """
        if self.size == 1:
            return function
        parallel = DistributedDataParallel(
            _FunctionOfModule(function, module), find_unused_parameters=some_unused
        )
        # Nothing in them changes. Torch 2.13 deprecates the argument of this name.
        parallel.broadcast_buffers = False
        return parallel


# A process without others.
ALONE = Workers()


@contextlib.contextmanager
def join_workers() -> Iterator[Workers]:
    """Join the processes that torchrun started, if it did.

    YIELDS (Workers): This process among the others.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or not dist.is_available():
        yield ALONE
        return
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    try:
        yield Workers(dist.get_rank(), size)
        # Threads of gloo let go of their last tensors a little later. One that does so
        # while Python shuts down aborts the process, and DDP keeps them from being
        # joined (torch 2.13; seen in 1 of 10 runs on a busy machine).
        dist.barrier()
        time.sleep(_GRACE_S)
    finally:
        dist.destroy_process_group()


def local_gpu(use_gpu: int) -> int:
    """Return the GPU of this process.

    use_gpu (int): The GPU asked for, -1 for the CPU. Of several processes on one machine
        each takes the GPU of its own number there, whichever was asked for.
    RETURNS (int): Number of the GPU, -1 for the CPU.
    """
    return use_gpu if use_gpu < 0 else int(os.environ.get("LOCAL_RANK", use_gpu))
