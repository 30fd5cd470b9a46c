import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.pretraining.watching.lr_range import (
    RangeTest,
    run_range_test,
    steepest,
    valley,
)

from .test_report import train  # noqa: F401  # the fixture


def bowl(rates):
    """Losses that fall to a valley at a rate of 0.01, then explode."""
    for rate in rates:
        yield 5.0 + min(0.0, -math.log10(rate / 1e-5)) + (100 * rate) ** 3


def test_rates_rise_by_one_factor_and_stop_when_the_loss_explodes():
    seen = []

    def losses(rates):
        for rate, loss in zip(rates, bowl(rates)):
            seen.append(rate)
            yield loss

    found = run_range_test(losses, start=1e-7, end=10.0, n_steps=100)
    factors = {round(b / a, 9) for a, b in zip(seen, seen[1:])}
    assert seen[0] == 1e-7 and len(factors) == 1
    assert factors.pop() == pytest.approx(1e8 ** (1 / 99))
    assert len(seen) < 100
    # A tenth at the beginning, five at the end.
    assert found.rates == seen[10:-5]


def test_losses_are_smoothed_without_a_bias():
    found = run_range_test(lambda rates: iter([3.0] * 20), start=1, end=2, n_steps=20)
    assert found.losses == pytest.approx([3.0] * 13)
    losses = [1.0, 2.0, *[2.0] * 18]
    found = run_range_test(lambda rates: iter(losses), start=1, end=2, n_steps=20)
    weights = [0.98**i for i in range(2, -1, -1)]
    expected = (weights[0] * 1 + weights[1] * 2 + weights[2] * 2) / sum(weights)
    assert found.losses[0] == pytest.approx(expected)


def test_what_explodes_at_once_is_told():
    with pytest.raises(ValueError, match="Begin at a lower rate"):
        run_range_test(
            lambda rates: iter([1.0, 50.0, 900.0]), start=1, end=2, n_steps=20
        )


def test_suggestions_stand_where_the_loss_falls():
    rates = [10.0**i for i in range(-7, 3)]
    losses = [9.0, 9.0, 8.9, 8.0, 6.0, 5.5, 5.4, 7.0, 20.0, 50.0]
    assert steepest(rates, losses) == 3
    # Six losses fall, down to that at 6: a third from 0, and half a third more.
    assert valley(losses) == 3
    assert RangeTest(rates, losses).suggestions() == {"valley": 1e-4, "steepest": 1e-4}


def plain_valley(losses):
    """The rule as fastai has it."""
    n = len(losses)
    start = end = 0
    lengths = [1] * n
    for i in range(1, n):
        for j in range(i):
            if losses[i] < losses[j] and lengths[i] < lengths[j] + 1:
                lengths[i] = lengths[j] + 1
            if lengths[end] < lengths[i]:
                end = i
                start = end - lengths[end]
    sections = (end - start) / 3
    return start + int(sections) + int(sections / 2)


@given(st.lists(st.integers(0, 9), min_size=2, max_size=30))
def test_the_valley_is_fastais(losses):
    assert valley(losses) == max(0, plain_valley(losses))
    assert 0 <= valley(losses) < len(losses)


@pytest.mark.parametrize("component", ["elmo_tok2vec", "awd_lstm_tok2vec"])
def test_a_language_model_explodes_at_large_rates(train, component):  # noqa: F811
    trainer = train(component, max_steps=1)
    trainer.config = trainer.config.model_copy(update={"max_steps": 101})
    before = sorted(path.name for path in trainer.output.iterdir())
    losses = list(trainer.losses_at([1e-3] * 40 + [1e6] * 40))
    assert losses[39] < losses[0] < max(losses)
    assert sorted(path.name for path in trainer.output.iterdir()) == before
