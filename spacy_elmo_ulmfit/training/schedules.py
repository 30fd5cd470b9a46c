"""Schedules of learning rate and momentum of the ULMFiT recipe."""

import itertools
import math
from typing import Iterator

from spacy.util import registry


@registry.schedules("spacy-elmo-ulmfit.slanted_triangular.v1")
def slanted_triangular(
    max_rate: float, num_steps: int, cut_frac: float = 0.1, ratio: int = 32
) -> Iterator[float]:
    """Yield a short linear rise and a long linear fall (arXiv:1801.06146, equation 3).

    max_rate (float): Highest rate.
    num_steps (int): Steps of rise and fall together; the lowest rate lasts from then on.
    cut_frac (float): Share of the steps in which the rate rises.
    ratio (int): How much smaller the lowest rate is than the highest.
    YIELDS (float): The rate of each step.
    """
    cut = _cut(num_steps, cut_frac)
    fall = max(1, num_steps - cut)
    for step in itertools.count():
        share = step / cut if step < cut else max(0.0, 1 - (step - cut) / fall)
        yield max_rate * (1 + share * (ratio - 1)) / ratio


@registry.schedules("spacy-elmo-ulmfit.one_cycle.v1")
def one_cycle(
    max_rate: float,
    num_steps: int,
    cut_frac: float = 0.25,
    div: float = 25.0,
    div_final: float = 1e5,
) -> Iterator[float]:
    """Yield one cosine rise and one cosine fall (arXiv:1803.09820).

    max_rate (float): Highest rate.
    num_steps (int): Steps of rise and fall together; the last rate lasts from then on.
    cut_frac (float): Share of the steps in which the rate rises.
    div (float): How much smaller the first rate is than the highest.
    div_final (float): How much smaller the last rate is than the highest.
    YIELDS (float): The rate of each step.
    """
    return _two_cosines(
        max_rate / div,
        max_rate,
        max_rate / div_final,
        cut=_cut(num_steps, cut_frac),
        num_steps=num_steps,
    )


@registry.schedules("spacy-elmo-ulmfit.flat_cosine.v1")
def flat_cosine(
    max_rate: float,
    num_steps: int,
    flat_frac: float = 0.75,
    div_final: float = 1e5,
) -> Iterator[float]:
    """Yield a constant rate and one cosine fall.

    max_rate (float): The rate at first.
    num_steps (int): Steps of both parts together; the last rate lasts from then on.
    flat_frac (float): Share of the steps before the rate falls.
    div_final (float): How much smaller the last rate is than the first.
    YIELDS (float): The rate of each step.
    """
    cut = min(math.floor(num_steps * flat_frac), num_steps - 1)
    return _two_cosines(
        max_rate, max_rate, max_rate / div_final, cut=cut, num_steps=num_steps
    )


@registry.schedules("spacy-elmo-ulmfit.cosine.v1")
def cosine(
    max_rate: float, num_steps: int, warmup_steps: int = 0, min_rate: float = 0.0
) -> Iterator[float]:
    """Yield a linear warm-up and one cosine fall (arXiv:1608.03983, without restarts).

    max_rate (float): Highest rate.
    num_steps (int): Steps of both parts together; the last rate lasts from then on.
    warmup_steps (int): Steps in which the rate rises.
    min_rate (float): Last rate.
    YIELDS (float): The rate of each step.
    """
    for step in range(warmup_steps):
        # The first step counts too: it has a rate above zero.
        yield max_rate * (step + 1) / (warmup_steps + 1)
    yield from _two_cosines(
        max_rate, max_rate, min_rate, cut=0, num_steps=num_steps - warmup_steps
    )


@registry.schedules("spacy-elmo-ulmfit.one_cycle_momentum.v1")
def one_cycle_momentum(
    max_momentum: float, min_momentum: float, num_steps: int, cut_frac: float = 0.25
) -> Iterator[float]:
    """Yield a momentum that is low where the rate of `one_cycle` is high (arXiv:1803.09820).

    In thinc's `Adam.v1` the momentum is `beta1`.

    max_momentum (float): Momentum of the first step and the last.
    min_momentum (float): Momentum where the rate is highest.
    num_steps (int): Steps of the cycle; the last momentum lasts from then on.
    cut_frac (float): Share of the steps in which the momentum falls.
    YIELDS (float): The momentum of each step.
    """
    return _two_cosines(
        max_momentum,
        min_momentum,
        max_momentum,
        cut=_cut(num_steps, cut_frac),
        num_steps=num_steps,
    )


def _cut(num_steps: int, cut_frac: float) -> int:
    """Return the step of the peak: neither the first nor after the last."""
    return min(max(1, math.floor(num_steps * cut_frac)), num_steps - 1)


def _two_cosines(
    first: float, middle: float, last: float, *, cut: int, num_steps: int
) -> Iterator[float]:
    """Yield values that go to `middle` in `cut` steps and then to `last`, which stays."""
    fall = max(1, num_steps - cut)
    for step in itertools.count():
        if step < cut:
            start, end, share = first, middle, step / cut
        else:
            start, end, share = middle, last, min(1.0, (step - cut) / fall)
        yield start + (end - start) * (1 - math.cos(math.pi * share)) / 2
