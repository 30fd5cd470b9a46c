import itertools
import math

import pytest
from spacy.util import registry

from spacy_elmo_ulmfit.training.schedules import (
    cosine,
    flat_cosine,
    one_cycle,
    one_cycle_momentum,
    slanted_triangular,
)

LOWEST = {slanted_triangular: 1 / 32, one_cycle: 1e-5}
FIRST = {slanted_triangular: 1 / 32, one_cycle: 1 / 25}


def rates(schedule, num_steps, n=None, **settings):
    generator = schedule(0.5, num_steps, **settings)
    return list(itertools.islice(generator, num_steps if n is None else n))


@pytest.mark.parametrize("schedule", [slanted_triangular, one_cycle])
@pytest.mark.parametrize("num_steps", [1, 2, 3, 5, 10, 57])
@pytest.mark.parametrize("cut_frac", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_rates_stay_between_zero_and_the_highest(schedule, num_steps, cut_frac):
    values = rates(schedule, num_steps, 3 * num_steps + 5, cut_frac=cut_frac)
    assert all(0.0 < value <= 0.5 * (1 + 1e-9) for value in values)


@pytest.mark.parametrize("schedule", [slanted_triangular, one_cycle])
@pytest.mark.parametrize("num_steps", [5, 10, 57])
def test_rates_rise_to_the_highest_and_fall_from_it(schedule, num_steps):
    values = rates(schedule, num_steps, cut_frac=0.4)
    peak = values.index(max(values))
    assert peak == math.floor(num_steps * 0.4)
    assert max(values) == pytest.approx(0.5)
    assert values[0] == pytest.approx(0.5 * FIRST[schedule])
    assert values[: peak + 1] == sorted(values[: peak + 1])
    assert values[peak:] == sorted(values[peak:], reverse=True)


@pytest.mark.parametrize("schedule", [slanted_triangular, one_cycle])
@pytest.mark.parametrize("num_steps", [1, 2, 5, 57])
def test_lowest_rate_lasts_from_the_end_on(schedule, num_steps):
    values = rates(schedule, num_steps, num_steps + 20)
    assert values[num_steps:] == pytest.approx([0.5 * LOWEST[schedule]] * 20)


def test_slanted_triangular_is_equation_3():
    num_steps, cut_frac, ratio, highest = 40, 0.1, 32, 0.01
    cut = math.floor(num_steps * cut_frac)
    expected = []
    for t in range(num_steps):
        p = t / cut if t < cut else 1 - (t - cut) / (cut * (1 / cut_frac - 1))
        expected.append(highest * (1 + p * (ratio - 1)) / ratio)
    found = itertools.islice(slanted_triangular(highest, num_steps), num_steps)
    assert list(found) == pytest.approx(expected)


def test_one_cycle_is_half_way_in_the_middle_of_each_part():
    values = rates(one_cycle, 40, cut_frac=0.5, div=10.0, div_final=100.0)
    assert values[10] == pytest.approx((0.5 + 0.05) / 2)
    assert values[30] == pytest.approx((0.5 + 0.005) / 2)


def test_flat_cosine_is_flat_and_then_falls():
    values = rates(flat_cosine, 40, 45)
    assert values[:31] == [0.5] * 31
    assert values[30:41] == sorted(values[30:41], reverse=True)
    assert values[35] == pytest.approx(0.25, rel=1e-4)
    assert values[40:] == pytest.approx([0.5e-5] * 5)


def test_cosine_rises_in_a_line_and_falls_to_the_lowest_rate():
    values = rates(cosine, 20, 30, warmup_steps=4, min_rate=0.1)
    assert values[:5] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])
    # Half of the fall is done in the middle of the steps that remain.
    assert values[12] == pytest.approx((0.5 + 0.1) / 2)
    assert values[4:21] == sorted(values[4:21], reverse=True)
    assert values[20:] == pytest.approx([0.1] * 10)


@pytest.mark.parametrize("num_steps", [1, 2, 5, 57])
def test_momentum_is_lowest_where_the_rate_is_highest(num_steps):
    momenta = list(itertools.islice(one_cycle_momentum(0.8, 0.7, num_steps), 100))
    assert all(0.7 <= value <= 0.8 for value in momenta)
    course = rates(one_cycle, num_steps)
    assert momenta.index(min(momenta)) == course.index(max(course))
    assert momenta[num_steps:] == pytest.approx([0.8] * (100 - num_steps))


def test_the_optimizer_of_a_config_takes_a_schedule_of_momentum():
    config = {
        "optimizer": {
            "@optimizers": "Adam.v1",
            "learn_rate": 0.01,
            "beta1": {
                "@schedules": "spacy-elmo-ulmfit.one_cycle_momentum.v1",
                "max_momentum": 0.8,
                "min_momentum": 0.7,
                "num_steps": 4,
            },
        }
    }
    optimizer = registry.resolve(config)["optimizer"]
    found = []
    for _ in range(5):
        found.append(optimizer.b1)
        optimizer.step_schedules()
    assert found == pytest.approx([0.8, 0.7, 0.725, 0.775, 0.8])
