"""Callbacks for `[training.before_update]` that say which layer groups learn."""

from typing import Any, Callable, Dict, Iterator, Protocol, Tuple, runtime_checkable

from spacy.language import Language
from spacy.util import registry

from ..layers.group_update import GroupUpdate
from ..layers.shim import TrainableGroups
from .strategies import chain_thaw_groups, gradual_groups

BeforeUpdate = Callable[[Language, Dict[str, Any]], None]


@runtime_checkable
class LayeredPipe(Protocol):
    """A component whose weights learn in layer groups."""

    @property
    def n_layer_groups(self) -> int:
        """Number of layer groups."""

    def set_trainable_groups(self, groups: TrainableGroups) -> None:
        """Let some groups learn, as `TorchShim.set_trainable_groups` does."""

    def set_group_update(self, update: GroupUpdate) -> None:
        """Give the next steps settings, as `TorchShim.set_group_update` does."""


def layered_pipes(nlp: Language) -> Iterator[Tuple[str, LayeredPipe]]:
    """Yield the components that learn in layer groups, with their names.

    nlp (Language): The pipeline.
    YIELDS (Tuple[str, LayeredPipe]): Language models that keep their weights are
        left out.
    """
    for name, pipe in nlp.pipeline:
        if isinstance(pipe, LayeredPipe) and pipe.n_layer_groups:
            yield name, pipe


@registry.callbacks("spacy-elmo-ulmfit.gradual_unfreezing.v1")
def create_gradual_unfreezing(
    epochs_per_group: int = 1, start: int = 1
) -> BeforeUpdate:
    """Unfreeze one more layer group after each epoch, top first (arXiv:1801.06146, 3.3).

    Acts on every component that has layer groups; frozen groups move by nothing.

    epochs_per_group (int): Epochs between two groups.
    start (int): Groups that learn from the beginning.
    RETURNS (Callable): A callback for `[training.before_update]`.
    """
    _check_epochs("gradual_unfreezing", epochs_per_group)

    def before_update(nlp: Language, args: Dict[str, Any]) -> None:
        stage = args["epoch"] // epochs_per_group
        for _, pipe in layered_pipes(nlp):
            pipe.set_trainable_groups(gradual_groups(pipe.n_layer_groups, stage, start))

    return before_update


@registry.callbacks("spacy-elmo-ulmfit.chain_thaw.v1")
def create_chain_thaw(epochs_per_group: int = 1) -> BeforeUpdate:
    """Train the top layer group, each other one alone, then all (arXiv:1708.00524, 3.3).

    The others are trained from the bottom up. Acts on every component that has layer
    groups; frozen groups move by nothing.

    epochs_per_group (int): Epochs before the next group's turn.
    RETURNS (Callable): A callback for `[training.before_update]`.
    """
    _check_epochs("chain_thaw", epochs_per_group)

    def before_update(nlp: Language, args: Dict[str, Any]) -> None:
        stage = args["epoch"] // epochs_per_group
        for _, pipe in layered_pipes(nlp):
            pipe.set_trainable_groups(chain_thaw_groups(pipe.n_layer_groups, stage))

    return before_update


@registry.callbacks("spacy-elmo-ulmfit.last_only.v1")
def create_last_only() -> BeforeUpdate:
    """Let only the top layer group learn, in a classifier its head.

    Acts on every component that has layer groups; frozen groups move by nothing.

    RETURNS (Callable): A callback for `[training.before_update]`.
    """

    def before_update(nlp: Language, args: Dict[str, Any]) -> None:
        for _, pipe in layered_pipes(nlp):
            pipe.set_trainable_groups(1)

    return before_update


def _check_epochs(callback: str, epochs_per_group: int) -> None:
    if epochs_per_group < 1:
        raise ValueError(
            f"{callback} needs epochs_per_group of at least 1, got {epochs_per_group}."
        )
