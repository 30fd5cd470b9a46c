"""Where a run stands, and when it ends."""

from dataclasses import dataclass, field
from typing import Dict, List, Optional, Tuple

from ..config import LMConfig


@dataclass
class Progress:
    """Where a run stands.

    step (int): Steps done.
    epoch (int): Passes over the text done.
    shard (int): Shards of the text read in this epoch.
    position (int): First column of the next shard's rows that has not been read.
    n_tokens (int): Tokens predicted, per direction.
    seconds (float): Time spent.
    learn_rate (float): Rate of the last step.
    criterion (str): The metric by which a model is the best, where it is lowest.
    best_value (float): The lowest so far.
    best_step (int): When that was.
    losses (Dict[str, float]): Summed losses of each direction since the last evaluation.
    n_targets (float): Targets per direction since the last evaluation.
    grad_norm (float): Summed norms of the steps' gradients since the last evaluation.
    step_seconds (float): Time of the steps since the last evaluation.
    rows (List[Dict[str, float]]): What was logged of every evaluation.
    metrics (Dict[str, float]): What the last evaluation gave.
    finished (bool): Whether training came to its end.
    """

    step: int = 0
    epoch: int = 0
    shard: int = 0
    position: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    learn_rate: float = 0.0
    criterion: str = "perplexity"
    best_value: float = float("inf")
    best_step: int = 0
    losses: Dict[str, float] = field(default_factory=dict)
    n_targets: float = 0.0
    grad_norm: float = 0.0
    step_seconds: float = 0.0
    rows: List[Dict[str, float]] = field(default_factory=list)
    metrics: Dict[str, float] = field(default_factory=dict)
    finished: bool = False

    @property
    def history(self) -> List[Tuple[int, float]]:
        """Step and criterion of every evaluation."""
        return [(int(row["step"]), row[self.criterion]) for row in self.rows]

    def seconds_left(self, config: LMConfig, n_text_tokens: int) -> Optional[float]:
        """Return the time until the last step or epoch at the speed so far.

        config (LMConfig): Settings of the run.
        n_text_tokens (int): Tokens of the training text.
        RETURNS (Optional[float]): Seconds; `None` before the first step.
        """
        if self.reaches_limit(config):
            return 0.0
        share = 0.0
        if config.max_steps:
            share = self.step / config.max_steps
        if config.max_epochs:
            n_tokens = n_text_tokens * config.max_epochs
            share = max(share, self.n_tokens / n_tokens)
        return self.seconds * (1 / min(share, 1.0) - 1) if share else None

    def mean_loss(self, n_directions: int) -> float:
        """Return the mean loss of a target since the last evaluation, in nats.

        n_directions (int): Directions of the language model.
        """
        n_targets = self.n_targets * n_directions
        return sum(self.losses.values()) / n_targets if n_targets else 0.0

    def row(self, n_directions: int, seconds_left: Optional[float]) -> Dict[str, float]:
        """Return what is logged of the last evaluation, and of the steps before it.

        n_directions (int): Directions of the language model.
        seconds_left (Optional[float]): Time until the end, where it is known.
        RETURNS (Dict[str, float]): The values by their names.
        """
        n_steps = self.step - (self.rows[-1]["step"] if self.rows else 0)
        row = {
            "epoch": self.epoch,
            "step": self.step,
            "tokens": self.n_tokens,
            "seconds": self.seconds,
            **self.metrics,
            "learn_rate": self.learn_rate,
        }
        if self.n_targets:
            row["loss"] = self.mean_loss(n_directions)
            row["grad_norm"] = self.grad_norm / n_steps
            row["tokens_per_second"] = self.n_targets / max(self.step_seconds, 1e-9)
        if seconds_left is not None:
            row["seconds_left"] = seconds_left
        return row

    def log(self, row: Dict[str, float]) -> None:
        """Keep a row, and begin another.

        row (Dict[str, float]): What `row` returned.
        """
        self.rows.append(row)
        self.forget_steps()

    def forget_steps(self) -> None:
        """Begin anew to add up what is logged of steps."""
        self.losses, self.n_targets = {}, 0.0
        self.grad_norm = self.step_seconds = 0.0

    def reaches_limit(self, config: LMConfig) -> bool:
        """Whether all steps, or all epochs, are done."""
        return bool(
            (config.max_steps and self.step >= config.max_steps)
            or (config.max_epochs and self.epoch >= config.max_epochs)
        )

    def is_done(self, config: LMConfig) -> bool:
        """Whether there is nothing left to train."""
        waited = self.step - self.best_step
        out_of_patience = config.patience and self.history and waited >= config.patience
        return self.reaches_limit(config) or bool(out_of_patience)

    def needs_evaluation(self, config: LMConfig) -> bool:
        """Whether the model at this step is to be evaluated, and was not yet."""
        if self.history and self.history[-1][0] == self.step:
            return False
        return self.reaches_limit(config) or self.step % config.eval_frequency == 0
