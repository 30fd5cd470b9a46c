"""NT-ASGD: gradient descent that averages its weights once progress stalls."""

import contextlib
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import torch
from spacy.util import logger
from torch import Tensor


class NTASGD(torch.optim.SGD):
    """Non-monotonically triggered averaged SGD (arXiv:1708.02182, algorithm 1).

    Steps are those of plain SGD. From the first evaluation on that is worse than one
    more than `nonmono` evaluations before it, the weights after each step are averaged.
    Training goes on from the weights; the averages are what it gives.

    params (Iterable): Parameter groups.
    nonmono (int): Evaluations in which the perplexity may stall.
    weight_decay (float): L2 penalty.
    """

    def __init__(
        self,
        params: Iterable[Dict[str, Any]],
        *,
        nonmono: int = 5,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(list(params), lr=0.0, weight_decay=weight_decay)
        self.nonmono = nonmono
        # In the groups, what load_state_dict restores.
        for group in self.param_groups:
            group.update(averaging=False, n_averaged=0)

    def observe(self, perplexities: Sequence[float]) -> None:
        """Start averaging if it is time.

        perplexities (Sequence[float]): Those of all evaluations so far.
        """
        if self.param_groups[0]["averaging"] or len(perplexities) <= self.nonmono + 1:
            return
        if perplexities[-1] > min(perplexities[: -1 - self.nonmono]):
            logger.info("NT-ASGD starts to average the weights")
            for group in self.param_groups:
                group["averaging"] = True

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Take a step, and add the weights to their averages."""
        loss = super().step(closure)
        for group in self.param_groups:
            if not group["averaging"]:
                continue
            group["n_averaged"] += 1
            for parameter in group["params"]:
                average = self.state[parameter].get("average")
                if average is None:
                    self.state[parameter]["average"] = parameter.detach().clone()
                else:
                    average.lerp_(parameter, 1 / group["n_averaged"])
        return loss

    def averages(self) -> List["tuple[Tensor, Tensor]"]:
        """Return the parameters that have an average, each with it."""
        return [
            (parameter, state["average"])
            for parameter, state in self.state.items()
            if "average" in state
        ]


@contextlib.contextmanager
def averaged_weights(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let a module have the averages of its weights for a while, if there are any.

    optimizer (torch.optim.Optimizer): The optimizer that moves the weights.
    """
    pairs = optimizer.averages() if isinstance(optimizer, NTASGD) else []
    _exchange(pairs)
    try:
        yield
    finally:
        _exchange(pairs)


@torch.no_grad()
def _exchange(pairs: Sequence["tuple[Tensor, Tensor]"]) -> None:
    for parameter, average in pairs:
        kept = parameter.clone()
        parameter.copy_(average)
        average.copy_(kept)
