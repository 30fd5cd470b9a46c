"""Layer groups that keep their weights, for a whole training or for its first steps."""

from typing import List, Tuple, cast

from torch import nn


def frozen_parameters(module: nn.Module, trainable_groups: int) -> List[nn.Parameter]:
    """Return the parameters of the layer groups that do not learn.

    module (nn.Module): A module with `layer_groups`.
    trainable_groups (int): Groups that learn, counted from the top, 0 for all.
    RETURNS (List[nn.Parameter]): The parameters of all other groups.
    """
    groups = cast(List[Tuple[str, ...]], module.layer_groups)
    prefixes = [
        prefix
        for group in (groups[:-trainable_groups] if trainable_groups else [])
        for prefix in group
    ]
    return [
        parameter
        for name, parameter in module.named_parameters()
        if name.startswith(tuple(prefixes))
    ]


class Freezing:
    """Lets some layer groups learn from a step on, the others from the beginning.

    What does not learn has no gradient, so no optimizer moves it or keeps anything of it:
    from the step on it learns as in a second training.

    module (nn.Module): A module with `layer_groups`.
    trainable_groups (int): Groups that learn from the beginning, counted from the top, 0
        for all.
    n_steps (int): Steps after which all learn, 0 for never.
    """

    def __init__(self, module: nn.Module, trainable_groups: int, n_steps: int) -> None:
        self.parameters = frozen_parameters(module, trainable_groups)
        self.n_steps = n_steps

    def prepare(self, step: int) -> None:
        """Let learn what learns in the next step.

        step (int): Steps done.
        """
        learns = bool(self.n_steps and step >= self.n_steps)
        for parameter in self.parameters:
            parameter.requires_grad_(learns)
