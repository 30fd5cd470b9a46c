"""Where a run stands, and when it ends."""

from dataclasses import dataclass, field
from typing import Dict, List, Tuple

from .config import LMConfig


@dataclass
class Progress:
    """Where a run stands.

    step (int): Steps done.
    epoch (int): Passes over the text done.
    shard (int): Shards of the text read in this epoch.
    position (int): First column of the next shard's rows that has not been read.
    n_tokens (int): Tokens read, per direction.
    seconds (float): Time spent.
    learn_rate (float): Rate of the last step.
    best_perplexity (float): Lowest held-out perplexity so far.
    best_step (int): When that was.
    losses (Dict[str, float]): Summed losses of each direction since the last evaluation.
    n_targets (int): Targets per direction since the last evaluation.
    history (List[Tuple[int, float]]): Step and perplexity of every evaluation.
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
    best_perplexity: float = float("inf")
    best_step: int = 0
    losses: Dict[str, float] = field(default_factory=dict)
    n_targets: int = 0
    history: List[Tuple[int, float]] = field(default_factory=list)
    metrics: Dict[str, float] = field(default_factory=dict)
    finished: bool = False

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
