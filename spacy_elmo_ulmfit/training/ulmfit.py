"""ULMFiT's classifier fine-tuning (Howard & Ruder 2018, section 3.3) as one callback."""

from dataclasses import dataclass, replace
from itertools import accumulate, islice
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Literal,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    cast,
)

from spacy.language import Language
from spacy.util import registry

from ..layers.group_update import GroupUpdate
from .callbacks import BeforeUpdate, LayeredPipe, layered_pipes
from .schedules import (
    flat_cosine,
    one_cycle,
    one_cycle_momentum,
    slanted_triangular,
)
from .strategies import Strategy, stage_groups

Schedule = Literal["one_cycle", "slanted_triangular", "flat_cosine"]


class Step(NamedTuple):
    """What one step of the recipe is.

    stage (int): Number of the stage, from 0.
    groups (range): The layer groups that learn; 0 is the bottom.
    update (GroupUpdate): Rate, momentum and the other settings.
    """

    stage: int
    groups: range
    update: GroupUpdate


@dataclass(frozen=True)
class Recipe:
    """The stages of a training, each with a cycle of rates of its own.

    strategy (str): Which layer groups learn in which stage.
    schedule (str): Course of the rate within a stage.
    max_rate (float): Highest rate of the top layer group.
    stage_rates (Optional[Sequence[float]]): Highest rate of each stage as a share of
        `max_rate`.
    stage_shares (Optional[Sequence[float]]): Length of each stage, relative to the
        others.
    momentum (Tuple[float, float]): Highest and lowest momentum.
    settings (GroupUpdate): What is the same in all steps.
    """

    strategy: Strategy
    schedule: Schedule
    max_rate: float
    stage_rates: Optional[Sequence[float]]
    stage_shares: Optional[Sequence[float]]
    momentum: Tuple[float, float]
    settings: GroupUpdate

    def __post_init__(self) -> None:
        for name in ("stage_rates", "stage_shares"):
            values = getattr(self, name)
            if values is not None and (not values or min(values) <= 0):
                raise ValueError(
                    f"ulmfit.v1 needs a positive number for each stage in {name}, got "
                    f"{list(values)}."
                )

    def steps(self, n_groups: int, num_steps: int) -> List[Step]:
        """Return what each step of a training is.

        n_groups (int): Number of the component's layer groups.
        num_steps (int): Number of steps.
        RETURNS (List[Step]): The steps.
        RAISES (ValueError): If rates or shares are not one for each stage.
        """
        rates, shares = self._stages(n_groups)
        groups = stage_groups(self.strategy, n_groups, len(rates))
        ends = [round(num_steps * total / sum(shares)) for total in accumulate(shares)]
        steps = []
        for stage, (start, end) in enumerate(zip([0, *ends], ends)):
            updates = self._cycle(rates[stage] * self.max_rate, end - start)
            steps += [Step(stage, groups[stage], update) for update in updates]
        return steps

    def _stages(self, n_groups: int) -> Tuple[Sequence[float], Sequence[float]]:
        """Return rates and shares of all stages, those of the paper by default."""
        n_single = n_groups - 1
        rates, shares = {
            "gradual": ([1.0, 0.5, 0.25, 0.1], [1.0, 1.0, 1.0, 3.0]),
            "chain-thaw": ([1.0, *[0.25] * n_single, 0.1], [1.0] * n_groups + [3.0]),
            "last": ([1.0], [1.0]),
            "full": ([0.5], [1.0]),
        }[self.strategy]
        expected = len(shares) if self.strategy == "chain-thaw" else None
        rates, shares = self.stage_rates or rates, self.stage_shares or shares
        if len(rates) != len(shares) or len(rates) != (expected or len(rates)):
            raise ValueError(
                f"ulmfit.v1 with strategy = '{self.strategy}' needs one number for each "
                f"stage{f', {expected} here,' if expected else ''} in stage_rates and in "
                f"stage_shares, but they are {list(rates)} and {list(shares)}."
            )
        return rates, shares

    def _cycle(self, rate: float, num_steps: int) -> List[GroupUpdate]:
        highest, lowest = self.momentum
        rates = islice(_course(self.schedule, rate, num_steps), num_steps)
        momenta = [lowest] * num_steps
        if self.schedule == "one_cycle":
            momenta = list(
                islice(one_cycle_momentum(highest, lowest, num_steps), num_steps)
            )
        return [
            replace(self.settings, learn_rate=rate, beta1=beta1, fresh=number == 0)
            for number, (rate, beta1) in enumerate(zip(rates, momenta))
        ]


def _course(schedule: Schedule, rate: float, num_steps: int) -> Iterator[float]:
    if schedule == "one_cycle":
        return one_cycle(rate, num_steps)
    if schedule == "slanted_triangular":
        return slanted_triangular(rate, num_steps)
    return flat_cosine(rate, num_steps)


@registry.callbacks("spacy-elmo-ulmfit.ulmfit.v1")
def create_ulmfit(
    strategy: Strategy = "gradual",
    schedule: Schedule = "one_cycle",
    max_rate: float = 2e-2,
    stage_rates: Optional[List[float]] = None,
    stage_shares: Optional[List[float]] = None,
    lr_decay: float = 2.6,
    max_momentum: float = 0.8,
    min_momentum: float = 0.7,
    beta2: float = 0.99,
    eps: float = 1e-5,
    weight_decay: float = 0.01,
) -> BeforeUpdate:
    """Train in stages as ULMFiT does, over `[training] max_steps` (arXiv:1801.06146, 3.3).

    Acts on every component that has layer groups, by Adam with decoupled weight
    decay. What `[training.optimizer]` says holds for the other components, and for
    `use_averages`.

    strategy (str): `"gradual"` unfreezes one more layer group in each stage, top
        first, and all in the last; `"chain-thaw"` trains the top group, then each
        other one alone from the bottom, then all; `"last"` trains the top group
        only, `"full"` all groups from the beginning.
    schedule (str): Course of the rate within a stage: `"one_cycle"`, with a cycle of
        momentum, `"slanted_triangular"` or `"flat_cosine"`.
    max_rate (float): Highest rate of the top layer group.
    stage_rates (Optional[List[float]]): Highest rate of each stage as a share of
        `max_rate`. By default `[1, 0.5, 0.25, 0.1]` for `"gradual"`; 1, then 0.25 for
        each group alone, then 0.1 for `"chain-thaw"`; 1 for `"last"`, 0.5 for `"full"`.
    stage_shares (Optional[List[float]]): Length of each stage relative to the others.
        By default the last of several is three times as long as each other one.
    lr_decay (float): Factor between the rates of neighbouring layer groups.
    max_momentum (float): Highest momentum (Adam's beta1) of a cycle.
    min_momentum (float): Lowest momentum of a cycle, and that of the other schedules.
    beta2 (float): Decay of the mean squared gradient.
    eps (float): Added to the root of the mean squared gradient.
    weight_decay (float): Share of the weights, times the rate, that is subtracted in
        each step; norms and biases of linear layers are spared.
    RETURNS (Callable): A callback for `[training.before_update]`.
    RAISES (ValueError): If rates or shares do not fit the stages; at the first step,
        if there is no `max_steps` or nothing to act on.
    """
    settings = GroupUpdate(
        learn_rate=max_rate,
        lr_decay=lr_decay,
        beta2=beta2,
        eps=eps,
        weight_decay=weight_decay,
    )
    momentum = (max_momentum, min_momentum)
    recipe = Recipe(
        strategy, schedule, max_rate, stage_rates, stage_shares, momentum, settings
    )
    plans: Dict[str, List[Step]] = {}

    def before_update(nlp: Language, args: Dict[str, Any]) -> None:
        if args["step"] == 0 or not plans:
            plans.clear()
            plans.update(_plans(recipe, nlp))
        for name, steps in plans.items():
            # spaCy makes one step more than max_steps.
            step = steps[min(args["step"], len(steps) - 1)]
            pipe = cast(LayeredPipe, nlp.get_pipe(name))
            pipe.set_trainable_groups(step.groups)
            pipe.set_group_update(step.update)

    return before_update


def _plans(recipe: Recipe, nlp: Language) -> Dict[str, List[Step]]:
    """Return the steps of each component that has layer groups."""
    training: Dict[str, Any] = nlp.config.interpolate()["training"]
    if not training["max_steps"]:
        raise ValueError(
            "spacy-elmo-ulmfit.ulmfit.v1 divides the training into stages by its number "
            f"of steps, but [training] max_steps = {training['max_steps']}. Set it to a "
            "number above 0: epochs * examples / batch size."
        )
    plans = {
        name: recipe.steps(pipe.n_layer_groups, training["max_steps"])
        for name, pipe in layered_pipes(nlp)
    }
    if not plans:
        raise ValueError(
            "spacy-elmo-ulmfit.ulmfit.v1 in [training.before_update] has nothing to act "
            f"on: none of {nlp.pipe_names} learns in layer groups. Add an ulmfit_textcat "
            "or an awd_lstm_tok2vec with frozen = false, or remove the block."
        )
    return plans
