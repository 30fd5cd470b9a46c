"""Adam with decoupled weight decay for modules with layer groups, over thinc's optimizer."""

import contextlib
from dataclasses import dataclass
from typing import FrozenSet, Iterator, Optional, cast

from thinc.api import Optimizer, torch2xp, xp2torch
from thinc.types import FloatsXd
from torch import nn

_SETTINGS = ("learn_rate", "b1", "b2", "eps", "L2", "grad_clip", "use_radam")
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm)


@dataclass(frozen=True)
class GroupUpdate:
    """Settings of one step, in place of those of `[training.optimizer]`.

    learn_rate (float): Rate of the top layer group.
    lr_decay (float): Factor between the rates of neighbouring groups.
    beta1 (float): Decay of the mean gradient, Adam's momentum.
    beta2 (float): Decay of the mean squared gradient.
    eps (float): Added to the root of the mean squared gradient.
    weight_decay (float): Share of the weights, times the rate, that is subtracted.
    fresh (bool): Whether to forget the mean gradients of earlier steps first.
    """

    learn_rate: float
    lr_decay: float = 2.6
    beta1: float = 0.7
    beta2: float = 0.99
    eps: float = 1e-5
    weight_decay: float = 0.01
    fresh: bool = False


class GroupStep:
    """One step of an optimizer on the parameters of a shim.

    Weights are decayed before the step, as `torch.optim.AdamW` does. Averages are
    those of thinc's optimizer.

    optimizer (Optimizer): The optimizer, which keeps means and averages.
    shim_id (int): Id of the shim in the optimizer's keys.
    update (Optional[GroupUpdate]): Settings of the step; by default the optimizer's.
    """

    def __init__(
        self, optimizer: Optimizer, shim_id: int, update: Optional[GroupUpdate]
    ) -> None:
        self.optimizer = optimizer
        self.shim_id = shim_id
        self.update = update

    @contextlib.contextmanager
    def settings(self) -> Iterator[None]:
        """Set the optimizer up for the step, and back afterwards."""
        optimizer, update = self.optimizer, self.update
        kept = {name: getattr(optimizer, name) for name in _SETTINGS}
        self.weight_decay = 0.0
        if update is not None:
            self.weight_decay = update.weight_decay
            optimizer.learn_rate = update.learn_rate
            optimizer.b1, optimizer.b2 = update.beta1, update.beta2
            # The norm of all gradients together is what is clipped here.
            optimizer.L2, optimizer.grad_clip, optimizer.use_radam = 0.0, 0.0, False
        elif optimizer.L2_is_weight_decay:
            self.weight_decay, optimizer.L2 = optimizer.L2, 0.0
        try:
            yield
        finally:
            for name, value in kept.items():
                setattr(optimizer, name, value)

    def __call__(
        self, name: str, parameter: nn.Parameter, *, lr_scale: float, decayed: bool
    ) -> None:
        """Change one parameter by its gradient, which is used up.

        name (str): Its name.
        parameter (nn.Parameter): The parameter.
        lr_scale (float): Its rate as a share of the step's rate.
        decayed (bool): Whether weight decay acts on it.
        """
        optimizer, key = self.optimizer, (self.shim_id, name)
        if decayed and self.weight_decay:
            rate = optimizer.learn_rate * lr_scale
            parameter.data.mul_(1.0 - rate * self.weight_decay)
        if self.update is not None:
            # Thinc adds eps before the bias correction, torch and fastai after it.
            n_steps = optimizer.nr_update[key] + 1
            correction = (1.0 - optimizer.b2**n_steps) ** 0.5
            optimizer.eps = self.update.eps * correction
        weights, _ = optimizer(
            key,
            cast(FloatsXd, torch2xp(parameter.data)),
            cast(FloatsXd, torch2xp(cast(nn.Parameter, parameter.grad))),
            lr_scale=lr_scale,
        )
        changed = xp2torch(weights, device=parameter.device)
        # Thinc changes weights in place. A tensor that wrapped its array would keep the
        # tensor before it, step after step, and what lies between could not be freed.
        if changed.data_ptr() != parameter.data_ptr():
            parameter.data.copy_(changed)
        parameter.grad = None

    def forget(self, name: str) -> None:
        """Let a parameter start from mean gradients of zero."""
        optimizer, key = self.optimizer, (self.shim_id, name)
        for means in (optimizer.mom1, optimizer.mom2, optimizer.nr_update):
            means.pop(key, None)

    def forget_average(self, name: str) -> None:
        """Let the average of a parameter that no longer learns be its weights."""
        if self.optimizer.averages is not None:
            self.optimizer.averages.pop((self.shim_id, name), None)


def spared_from_decay(module: nn.Module) -> FrozenSet[str]:
    """Name the parameters that weight decay does not act on, as in fastai.

    module (nn.Module): The module.
    RETURNS (FrozenSet[str]): All parameters of norms, and the biases of linear
        layers. The biases of LSTM layers are decayed.
    """
    return frozenset(
        f"{prefix}.{name}" if prefix else name
        for prefix, part in module.named_modules()
        for name, _ in part.named_parameters(recurse=False)
        if isinstance(part, _NORMS) or (isinstance(part, nn.Linear) and name == "bias")
    )
