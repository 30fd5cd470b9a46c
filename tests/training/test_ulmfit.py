import pytest
import spacy
from spacy.cli.debug_config import debug_config
from spacy.util import load_config, registry
from thinc.api import Config

from spacy_elmo_ulmfit.training.strategies import stage_groups
from spacy_elmo_ulmfit.training.ulmfit import create_ulmfit

from ..test_configs import CONFIGS


class SpiedPipe:
    """A component with five layer groups that writes down what it is told."""

    n_layer_groups = 5

    def __init__(self):
        self.groups, self.updates = [], []

    def __call__(self, doc):
        return doc

    def set_trainable_groups(self, groups):
        self.groups.append(list(groups))

    def set_group_update(self, update):
        self.updates.append(update)


@spacy.Language.factory("spied_pipe")
def make_spied_pipe(nlp, name):
    return SpiedPipe()


def run(max_steps, n=None, **settings):
    """What the recipe tells a component in each step."""
    nlp = spacy.blank("en")
    nlp.config["training"] = {"max_steps": max_steps}
    pipe = nlp.add_pipe("spied_pipe")
    callback = create_ulmfit(**settings)
    for step in range(max_steps if n is None else n):
        callback(nlp, {"step": step, "epoch": 0})
    return pipe


def rates(pipe):
    return [update.learn_rate for update in pipe.updates]


def test_by_default_stages_of_the_paper_with_a_cycle_each():
    pipe = run(60)
    assert pipe.groups == [
        *[[4]] * 10,
        *[[3, 4]] * 10,
        *[[2, 3, 4]] * 10,
        *[[0, 1, 2, 3, 4]] * 30,
    ]
    stages = [(0, 10, 2e-2), (10, 20, 1e-2), (20, 30, 5e-3), (30, 60, 2e-3)]
    for start, end, rate in stages:
        cycle = pipe.updates[start:end]
        assert max(update.learn_rate for update in cycle) == pytest.approx(rate)
        assert cycle[0].learn_rate == pytest.approx(rate / 25)
        assert [update.fresh for update in cycle] == [True] + [False] * (len(cycle) - 1)
        assert cycle[0].beta1 == 0.8
        assert min(update.beta1 for update in cycle) == pytest.approx(0.7)
    first = pipe.updates[0]
    assert (first.lr_decay, first.beta2, first.eps) == (2.6, 0.99, 1e-5)
    assert first.weight_decay == 0.01


def test_the_step_that_spacy_makes_beyond_the_last_is_like_it():
    pipe = run(12, 13)
    assert pipe.updates[12] == pipe.updates[11]
    assert pipe.groups[12] == pipe.groups[11]


@pytest.mark.parametrize("max_steps", [1, 2, 3, 4, 7])
def test_a_short_training_has_a_step_for_each_of_its_steps(max_steps):
    pipe = run(max_steps)
    assert len(pipe.updates) == max_steps
    assert pipe.groups[-1] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "strategy, expected",
    [
        ("gradual", [[4], [3, 4], [2, 3, 4], [0, 1, 2, 3, 4]]),
        ("chain-thaw", [[4], [0], [1], [2], [3], [0, 1, 2, 3, 4]]),
        ("last", [[4]]),
        ("full", [[0, 1, 2, 3, 4]]),
    ],
)
def test_strategies_say_which_groups_learn(strategy, expected):
    pipe = run(80, strategy=strategy)
    found = [pipe.groups[0]]
    for groups in pipe.groups:
        if groups != found[-1]:
            found.append(groups)
    assert found == expected


def test_gradual_unfreezing_ends_with_all_groups_however_many_there_are():
    assert stage_groups("gradual", 9, 2) == [range(8, 9), range(9)]
    assert stage_groups("gradual", 2, 4) == [range(1, 2)] + [range(2)] * 3


def test_stages_can_be_given():
    pipe = run(
        40, stage_rates=[1.0, 0.5], stage_shares=[1.0, 3.0], max_rate=0.1, lr_decay=3.0
    )
    assert pipe.groups == [[4]] * 10 + [[0, 1, 2, 3, 4]] * 30
    assert max(rates(pipe)[:10]) == pytest.approx(0.1)
    assert max(rates(pipe)[10:]) == pytest.approx(0.05)
    assert pipe.updates[0].lr_decay == 3.0


@pytest.mark.parametrize("schedule", ["slanted_triangular", "flat_cosine"])
def test_other_schedules_keep_the_lowest_momentum(schedule):
    pipe = run(40, strategy="full", schedule=schedule)
    assert {update.beta1 for update in pipe.updates} == {0.7}
    assert max(rates(pipe)) == pytest.approx(0.01)
    peak = rates(pipe).index(max(rates(pipe)))
    assert peak == {"slanted_triangular": 4, "flat_cosine": 0}[schedule]


def test_without_max_steps_the_error_says_what_to_set():
    with pytest.raises(ValueError, match=r"\[training\] max_steps = 0.*above 0"):
        run(0, 1)


def test_without_layer_groups_the_error_names_the_components():
    nlp = spacy.blank("en")
    nlp.config["training"] = {"max_steps": 10}
    nlp.add_pipe("textcat")
    with pytest.raises(ValueError, match=r"nothing to act on: none of \['textcat'\]"):
        create_ulmfit()(nlp, {"step": 0, "epoch": 0})


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"stage_rates": [1.0, 0.5]}, r"\[1.0, 0.5\] and \[1.0, 1.0, 1.0, 3.0\]"),
        ({"stage_shares": [1.0, -1.0]}, r"positive.*stage_shares.*-1.0"),
        ({"stage_rates": []}, "positive number for each stage in stage_rates"),
        (
            {
                "strategy": "chain-thaw",
                "stage_rates": [1.0, 0.5],
                "stage_shares": [1.0, 0.5],
            },
            "each stage, 6 here",
        ),
    ],
)
def test_stages_that_do_not_fit_are_an_error(settings, message):
    with pytest.raises(ValueError, match=message):
        run(10, **settings)


def test_an_unknown_strategy_is_refused_by_the_config():
    config = {
        "block": {"@callbacks": "spacy-elmo-ulmfit.ulmfit.v1", "strategy": "thaw"}
    }
    with pytest.raises(ValueError, match="strategy"):
        registry.resolve(Config(config))


def test_debug_config_accepts_the_recipe():
    path = CONFIGS / "textcat_ulmfit.cfg"
    block = load_config(path)["training"]["before_update"]
    assert block["@callbacks"] == "spacy-elmo-ulmfit.ulmfit.v1"
    debug_config(
        path, overrides={"paths.train": "train.spacy", "paths.dev": "dev.spacy"}
    )
