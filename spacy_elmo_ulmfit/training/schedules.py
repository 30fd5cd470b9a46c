"""Learning rate schedules of the ULMFiT recipe."""

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
    cut = min(max(1, math.floor(num_steps * cut_frac)), num_steps - 1)
    fall = max(1, num_steps - cut)
    step = 0
    while True:
        share = step / cut if step < cut else max(0.0, 1 - (step - cut) / fall)
        yield max_rate * (1 + share * (ratio - 1)) / ratio
        step += 1


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
    cut = min(max(1, math.floor(num_steps * cut_frac)), num_steps - 1)
    fall = max(1, num_steps - cut)
    step = 0
    while True:
        if step < cut:
            start, end, share = max_rate / div, max_rate, step / cut
        else:
            start, end = max_rate, max_rate / div_final
            share = min(1.0, (step - cut) / fall)
        yield start + (end - start) * (1 - math.cos(math.pi * share)) / 2
        step += 1
