"""One step of the optimizer, from the losses of one window or of several."""

import math
from typing import Any, Dict

import torch
from torch import Tensor, nn


class GradientStep:
    """Gradients that add up until a step is taken.

    The gradient of a step is that of the mean loss over all its targets, in however
    many windows they were read.

    module (nn.Module): The module that learns.
    optimizer (torch.optim.Optimizer): Moves its weights; each group has an `lr_scale`.
    max_norm (float): Bound of the global norm of all gradients, 0 for none.
    scaler (torch.amp.GradScaler): Scales losses so that gradients of half precision do
        not vanish; does nothing if it is not enabled.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        max_norm: float,
        scaler: torch.amp.GradScaler,
    ) -> None:
        self.module, self.optimizer = module, optimizer
        self.max_norm, self.scaler = max_norm or math.inf, scaler
        self.norm = 0.0
        # Targets of the first window, whose mean loss the gradients are of until all
        # windows are known, and of all windows.
        self._n_first = self._n_targets = 0.0

    def add(self, loss: Tensor, penalty: Tensor, n_targets: float) -> None:
        """Add the gradients of a window.

        loss (Tensor): Summed loss of its targets, a scalar.
        penalty (Tensor): Its regularisation, which counts as much as its mean loss.
        n_targets (float): Number of targets; with several processes, its mean.
        RAISES (FloatingPointError): If the loss is not finite.
        """
        # Of a window without targets there is nothing to learn.
        if not n_targets:
            return
        self._n_first = self._n_first or n_targets
        self._n_targets += n_targets
        mean = loss / self._n_first + penalty * (n_targets / self._n_first)
        value = float(mean.detach())
        if not math.isfinite(value):
            raise FloatingPointError(f"The loss is {value}")
        self.scaler.scale(mean).backward()

    def take(self, rate: float) -> None:
        """Move the weights by the gradients added up.

        rate (float): Learning rate of a group whose `lr_scale` is 1.
        RAISES (FloatingPointError): If the gradients are not finite; the weights are
            then as they were.
        """
        self.norm = 0.0
        if not self._n_targets:
            return
        self.scaler.unscale_(self.optimizer)
        self._divide(self._n_targets / self._n_first)
        self._n_first = self._n_targets = 0.0
        norm = nn.utils.clip_grad_norm_(self.module.parameters(), self.max_norm)
        self.norm = float(norm)
        # Of scaled gradients some overflow; the scaler skips the step and scales less.
        scale = self.scaler.get_scale()
        if not math.isfinite(self.norm) and scale <= 1.0:
            raise FloatingPointError(f"The norm of the gradients is {self.norm}")
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["lr_scale"]
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> Dict[str, Any]:
        """Return what lasts beyond a step."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.optimizer.load_state_dict(state["optimizer"])
        # Empty without half precision, which a resumed run may take up.
        if state["scaler"] and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])

    def _divide(self, factor: float) -> None:
        if factor == 1.0:
            return
        for parameter in self.module.parameters():
            if parameter.grad is not None:
                parameter.grad.div_(factor)
