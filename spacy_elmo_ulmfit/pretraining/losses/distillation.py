"""A language model that learns to predict as a larger one does, the teacher."""

from typing import Any, List, Sequence, Tuple, cast

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...modules.distillation import distillation_loss
from ..batching.layout import Window
from ..config import DistillationConfig, LMConfig
from ..resuming.carried_state import DistillationState
from .objectives import Objective, StepResult, create_objective
from .word_losses import LanguageModel, predictions, softmax_of


class Outputs:
    """Takes a loss's place where outputs alone are wanted."""

    def __init__(self) -> None:
        self.last: List[Tensor] = []

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """Keep the outputs; see `WordLoss`."""
        self.last = list(outputs)
        return torch.zeros(len(self.last), device=self.last[0].device)


class DistillationLoss:
    """The loss of a student, given what the teacher made of the same window.

    student (LanguageModel): The model that learns, with a full softmax.
    teacher (LanguageModel): The model to learn from.
    share (float): Weight of the divergence from the teacher, from 0 to 1.
    temperature (float): What logits are divided by.
    dtype (torch.dtype): Precision of the large matrix products.
    RAISES (ValueError): If the student has an adaptive softmax.
    """

    def __init__(
        self,
        student: LanguageModel,
        teacher: LanguageModel,
        *,
        share: float,
        temperature: float,
        dtype: torch.dtype,
    ) -> None:
        if softmax_of(student).clusters is not None:
            raise ValueError(
                "A model with an adaptive softmax cannot learn from a teacher: leave "
                "softmax_cutoffs out of the student, or [lm.distillation] out."
            )
        self.student, self.teacher = student, teacher
        self.share, self.temperature, self.dtype = share, temperature, dtype
        self.of_teacher = Outputs()

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """See `WordLoss`."""
        pairs = zip(
            predictions(outputs, targets), predictions(self.of_teacher.last, targets)
        )
        losses = [
            distillation_loss(
                hidden,
                goals,
                softmax_of(self.student),
                teacher_hidden,
                softmax_of(self.teacher),
                share=self.share,
                temperature=self.temperature,
                dtype=self.dtype,
            )
            for (hidden, goals), (teacher_hidden, _) in pairs
        ]
        return torch.stack(losses)


class DistillationObjective:
    """Predict words and, as far as the loss says, as the teacher does.

    The teacher reads the same windows, without dropout and with a state of its own.

    student (Objective): The objective of the student, with `DistillationLoss`.
    teacher (Objective): That of the teacher, whose loss is that one's `of_teacher`.
    """

    def __init__(self, student: Objective, teacher: Objective) -> None:
        self.student, self.teacher = student, teacher
        self.directions: Tuple[str, ...] = student.directions
        self.device = student.device

    def compile(self) -> None:
        """See `Objective.compile`."""
        self.student.compile()

    def zero_state(self, batch_size: int) -> DistillationState:
        """See `Objective.zero_state`."""
        return DistillationState(
            self.student.zero_state(batch_size), self.teacher.zero_state(batch_size)
        )

    def mask_state(self, state: DistillationState, keep: Tensor) -> DistillationState:
        """See `Objective.mask_state`."""
        return DistillationState(
            self.student.mask_state(state.student, keep),
            self.teacher.mask_state(state.teacher, keep),
        )

    def step(self, window: Window, state: Any) -> StepResult:
        """See `Objective.step`; student and teacher read and predict alike."""
        with torch.no_grad():
            taught = self.teacher.step(window, state.teacher)
        result = self.student.step(window, state.student)
        result.state = DistillationState(result.state, taught.state)
        return result


def create_distillation_objective(
    student: LanguageModel, teacher: LanguageModel, config: LMConfig
) -> DistillationObjective:
    """Set up what a student is trained to do.

    student (LanguageModel): The model that learns.
    teacher (LanguageModel): The model to learn from, with the student's vocabulary; it
        gets no gradients.
    config (LMConfig): Settings, with those of the distillation.
    RETURNS (DistillationObjective): The objective.
    """
    settings = cast(DistillationConfig, config.distillation)
    loss = DistillationLoss(
        student,
        teacher,
        share=settings.weight,
        temperature=settings.temperature,
        dtype=config.dtype,
    )
    teacher.eval().requires_grad_(False)
    return DistillationObjective(
        create_objective(
            student,
            dtype=config.dtype,
            alpha=config.alpha,
            beta=config.beta,
            loss=loss,
        ),
        create_objective(teacher, dtype=config.dtype, loss=loss.of_teacher),
    )
