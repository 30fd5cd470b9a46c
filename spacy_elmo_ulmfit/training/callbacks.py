"""Callbacks of the ULMFiT recipe for `[training.before_update]`."""

from typing import Any, Callable, Dict

from spacy.language import Language
from spacy.util import registry


@registry.callbacks("spacy-elmo-ulmfit.gradual_unfreezing.v1")
def create_gradual_unfreezing(
    epochs_per_group: int = 1, start: int = 1
) -> Callable[[Language, Dict[str, Any]], None]:
    """Unfreeze one more layer group after each epoch, top first (arXiv:1801.06146, 3.3).

    Acts on every component that has layer groups; frozen groups move by nothing.

    epochs_per_group (int): Epochs between two groups.
    start (int): Groups that learn from the beginning.
    RETURNS (Callable): A callback for `[training.before_update]`.
    """
    if epochs_per_group < 1:
        raise ValueError(
            f"gradual_unfreezing needs epochs_per_group of at least 1, got "
            f"{epochs_per_group}."
        )

    def before_update(nlp: Language, args: Dict[str, Any]) -> None:
        n_groups = start + args["epoch"] // epochs_per_group
        for _, pipe in nlp.components:
            if hasattr(pipe, "set_trainable_groups"):
                pipe.set_trainable_groups(n_groups)

    return before_update
