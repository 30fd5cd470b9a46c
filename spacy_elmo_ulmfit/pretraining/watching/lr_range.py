"""Learning rate range test: which rates a model learns at (Smith 2017, arXiv:1506.01186)."""

import math
from typing import Callable, Dict, Iterable, Iterator, List, NamedTuple, Sequence

# fastai's: smoothing of losses, when to stop, and what is left out at both ends.
_SMOOTHING = 0.98
_STOP_AT = 4.0
_SKIP_SHARE, _SKIP_LAST = 10, 5

LossesAt = Callable[[Iterable[float]], Iterator[float]]


class RangeTest(NamedTuple):
    """What a range test found.

    rates (List[float]): Rates by rising value, without the first and last ones.
    losses (List[float]): Smoothed loss after a step at each.
    """

    rates: List[float]
    losses: List[float]

    def suggestions(self) -> Dict[str, float]:
        """Return the rates that are suggested, by the names of the rules."""
        return {
            "valley": self.rates[valley(self.losses)],
            "steepest": self.rates[steepest(self.rates, self.losses)],
        }


def run_range_test(
    losses_at: LossesAt, *, start: float, end: float, n_steps: int
) -> RangeTest:
    """Train at rates that rise from step to step, until the loss explodes.

    Rates rise by a constant factor. Losses are smoothed, each new one counting 2 %, and
    corrected for their start from zero. The test stops when the smoothed loss is 4 times
    its least value. The first tenth and the last 5 steps are left out, as fastai does.

    losses_at (Callable): Takes steps at rates and returns their losses.
    start (float): First rate.
    end (float): Last rate.
    n_steps (int): Most steps.
    RETURNS (RangeTest): Rates and smoothed losses.
    RAISES (ValueError): If there are too few losses to suggest anything.
    """
    factor = (end / start) ** (1 / (n_steps - 1))
    rates = [start * factor**step for step in range(n_steps)]
    losses: List[float] = []
    mean, least = 0.0, math.inf
    for step, loss in enumerate(losses_at(rates), start=1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        losses.append(mean / (1 - _SMOOTHING**step))
        least = min(least, losses[-1])
        if losses[-1] > _STOP_AT * least:
            break
    kept = slice(n_steps // _SKIP_SHARE, len(losses) - _SKIP_LAST)
    if len(losses[kept]) < 2:
        raise ValueError(
            f"The loss exploded after {len(losses)} steps, so there is no rate to suggest. "
            "Begin at a lower rate, or take more steps."
        )
    return RangeTest(rates[kept], losses[kept])


def valley(losses: Sequence[float]) -> int:
    """Find the place of a rate in the longest stretch in which the loss falls.

    The stretch is the longest falling subsequence of the losses (fastai's "valley"): it
    ends at its last loss and begins as many steps before that as it is long. The rate
    stands half of a third past its first third, in the middle of it.

    losses (Sequence[float]): Smoothed losses at rising rates.
    RETURNS (int): Index of the rate.
    """
    lengths = [1] * len(losses)
    last = 0
    for i, loss in enumerate(losses):
        before = [lengths[j] for j in range(i) if losses[j] > loss]
        lengths[i] = 1 + max(before, default=0)
        if lengths[i] > lengths[last]:
            last = i
    first = last - lengths[last]
    third = (last - first) / 3
    return max(0, first + int(third) + int(third / 2))


def steepest(rates: Sequence[float], losses: Sequence[float]) -> int:
    """Find the place of the rate at which the loss falls most per factor of the rate.

    rates (Sequence[float]): Rising rates.
    losses (Sequence[float]): Smoothed loss at each.
    RETURNS (int): Index of the rate.
    """
    slopes = [
        (losses[i + 1] - losses[i]) / math.log(rates[i + 1] / rates[i])
        for i in range(len(losses) - 1)
    ]
    return slopes.index(min(slopes))
