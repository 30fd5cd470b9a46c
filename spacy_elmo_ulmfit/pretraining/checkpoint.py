"""What a killed training run needs to go on as if nothing had happened."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict

import torch
from torch import nn

from ..replacing import replacing

CHECKPOINT_FILE = "checkpoint.pt"


@dataclass
class Progress:
    """Where a run stands.

    step (int): Steps done.
    epoch (int): Passes over the text done.
    shard (int): Shards of the text read in this epoch.
    position (int): First column of the next shard's rows that has not been read.
    n_tokens (int): Tokens read, per direction.
    seconds (float): Time spent.
    best_perplexity (float): Lowest held-out perplexity so far.
    best_step (int): When that was.
    losses (List[float]): Summed losses of each direction since the last evaluation.
    n_targets (int): Targets per direction since the last evaluation.
    history (list): Step and perplexity of every evaluation.
    finished (bool): Whether training came to its end.
    """

    step: int = 0
    epoch: int = 0
    shard: int = 0
    position: int = 0
    n_tokens: int = 0
    seconds: float = 0.0
    best_perplexity: float = float("inf")
    best_step: int = 0
    losses: Dict[str, float] = field(default_factory=dict)
    n_targets: int = 0
    history: list = field(default_factory=list)
    finished: bool = False


def save_checkpoint(
    directory: Path,
    *,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    state: Any,
    progress: Progress,
    fingerprint: str,
) -> None:
    """Write a checkpoint; a kill in the middle leaves the last one whole."""
    data = {
        "module": module.state_dict(),
        "optimizer": optimizer.state_dict(),
        "state": state,
        "progress": asdict(progress),
        "fingerprint": fingerprint,
        "torch_rng": torch.get_rng_state(),
        "cuda_rng": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }
    with replacing(directory / CHECKPOINT_FILE) as temporary:
        torch.save(data, temporary)


def load_checkpoint(directory: Path) -> Dict[str, Any]:
    """Read the last checkpoint; nothing in it is executed.

    directory (Path): The run's output directory.
    RETURNS (Dict[str, Any]): What `save_checkpoint` wrote.
    RAISES (ValueError): If there is none.
    """
    path = directory / CHECKPOINT_FILE
    if not path.exists():
        raise ValueError(
            f"There is nothing to resume in {directory}: it has no {CHECKPOINT_FILE}. "
            "Start without --resume, or correct --output."
        )
    return torch.load(path, map_location="cpu", weights_only=True)
