"""The checkpoints of one run: what of it is stored, and how it goes on from there."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from torch import nn

from ..corpus.shards import ShardedStream
from ..losses.objectives import Objective
from ..steps.gradient_step import GradientStep
from ..watching.progress import Progress
from ..workers import Workers
from .carried_state import join_states, plain_state, restored_state, share_of_state
from .checkpoint import checkpoint_path, load_checkpoint, save_checkpoint
from .random_states import random_states, restore_random_states
from .run_settings import check_changes, run_settings


class Restored(NamedTuple):
    """Where a run goes on.

    progress (Progress): What was done.
    state (Any): The carried state of this process's rows.
    """

    progress: Progress
    state: Any


class RunCheckpoints:
    """Stores a run whole, that of all its processes in one file.

    output (Path): Directory of the run.
    nlp (Language): The pipeline, whose config says what is trained on what.
    module (nn.Module): The language model in it.
    objective (Objective): How it is trained.
    gradient_step (GradientStep): Its optimizer.
    text (ShardedStream): Training text.
    keep (int): Newest checkpoints to keep.
    workers (Workers): The processes.
    """

    def __init__(
        self,
        output: Path,
        *,
        nlp: Language,
        module: nn.Module,
        objective: Objective,
        gradient_step: GradientStep,
        text: ShardedStream,
        keep: int,
        workers: Workers,
    ) -> None:
        self.output, self.nlp, self.module = output, nlp, module
        self.objective, self.gradient_step, self.text = objective, gradient_step, text
        self.keep, self.workers = keep, workers

    def save(self, progress: Progress, state: Any) -> Path:
        """Write a checkpoint; all processes call this, the first one writes.

        progress (Progress): Where the run stands.
        state (Any): The carried state of this process's rows.
        RETURNS (Path): The file.
        RAISES (ValueError): If it cannot be written.
        """
        states = self.workers.gather(plain_state(state))
        random = self.workers.gather(random_states())
        if not self.workers.is_main:
            return checkpoint_path(self.output, progress.step)
        data = {
            "module": self.module.state_dict(),
            "step": self.gradient_step.state_dict(),
            "state": join_states(states),
            "progress": dataclasses.asdict(progress),
            "random": random,
            "fingerprint": self.text.fingerprint(),
            "settings": run_settings(self.nlp.config),
        }
        return save_checkpoint(self.output, data, step=progress.step, keep=self.keep)

    def restore(self) -> Restored:
        """Put the module, its optimizer and random numbers where the run stood.

        RETURNS (Restored): Where it goes on, with any number of processes.
        RAISES (ValueError): If there is no checkpoint, or it is of another run.
        """
        data = load_checkpoint(self.output)
        check_changes(data["settings"], run_settings(self.nlp.config))
        fingerprint = self.text.fingerprint()
        if data["fingerprint"] != fingerprint:
            raise ValueError(
                f"The run in {self.output} belongs to another training text "
                f"({data['fingerprint']}, now {fingerprint}). Resume with the text the "
                "run began with, or start anew without --resume."
            )
        self.module.load_state_dict(data["module"])
        self.gradient_step.load_state_dict(data["step"])
        # With other processes than before there are no states to go on from.
        if len(data["random"]) == self.workers.size:
            restore_random_states(data["random"][self.workers.rank])
        stored = share_of_state(data["state"], self.workers)
        like = self.objective.zero_state(1)
        state = restored_state(stored, like, self.objective.device)
        return Restored(Progress(**data["progress"]), state)
