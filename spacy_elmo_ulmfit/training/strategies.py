"""Which layer groups learn in which stage of a training."""

from typing import List, Literal

Strategy = Literal["gradual", "chain-thaw", "last", "full"]


def gradual_groups(n_groups: int, stage: int, start: int = 1) -> range:
    """Return the groups that learn when one more is unfrozen in each stage.

    n_groups (int): Number of layer groups.
    stage (int): Number of the stage, from 0.
    start (int): Groups that learn in the first stage.
    RETURNS (range): The top groups; 0 is the bottom.
    """
    return range(max(0, n_groups - start - stage), n_groups)


def chain_thaw_groups(n_groups: int, stage: int) -> range:
    """Return the groups that learn in chain-thaw (Felbo et al. 2017, arXiv:1708.00524).

    The new top group comes first, then each of the others alone from the bottom,
    and at last all of them together.

    n_groups (int): Number of layer groups.
    stage (int): Number of the stage, from 0.
    RETURNS (range): The groups; 0 is the bottom.
    """
    if stage == 0:
        return range(n_groups - 1, n_groups)
    if stage < n_groups:
        return range(stage - 1, stage)
    return range(n_groups)


def stage_groups(strategy: Strategy, n_groups: int, n_stages: int) -> List[range]:
    """Return the groups that learn in each of a number of stages.

    In the last stage of `"gradual"` all groups learn, however few the stages are.

    strategy (str): `"gradual"`, `"chain-thaw"`, `"last"` or `"full"`.
    n_groups (int): Number of layer groups.
    n_stages (int): Number of stages.
    RETURNS (List[range]): The groups of each stage; 0 is the bottom.
    """
    stages = range(n_stages)
    if strategy == "chain-thaw":
        return [chain_thaw_groups(n_groups, stage) for stage in stages]
    if strategy == "last":
        return [range(n_groups - 1, n_groups) for _ in stages]
    if strategy == "full":
        return [range(n_groups) for _ in stages]
    return [*(gradual_groups(n_groups, i) for i in stages[:-1]), range(n_groups)]
