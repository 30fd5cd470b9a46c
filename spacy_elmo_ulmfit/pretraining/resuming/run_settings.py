"""The settings of a run, and which of them may change when it is resumed."""

from typing import Any, Dict, List

import srsly
from spacy.util import dict_to_dot, logger
from thinc.api import Config

from ..config import LMConfig

_SECTIONS = ("nlp", "components", "corpora", "lm")
# How long, how fast and how closely watched a run is; all else is what is trained.
_CHANGEABLE = (
    "max_steps",
    "max_epochs",
    "eval_frequency",
    "checkpoint_frequency",
    "keep_checkpoints",
    "patience",
    "learn_rate",
    "accumulate_gradient",
    "max_grad_norm",
    "reset_probability",
    "drop_mult",
    "alpha",
    "beta",
    "n_samples",
    "precision",
    "compile",
    "n_process",
    "cache_dir",
    "logger",
)
_ABSENT = "not set"


def run_settings(config: Config) -> Dict[str, Any]:
    """Return the settings of a run by their dotted names, defaults of `[lm]` included.

    config (Config): The config of the run's pipeline.
    RETURNS (Dict[str, Any]): Settings of plain types.
    """
    config = config.interpolate()
    defaults = {
        name: field.default
        for name, field in LMConfig.model_fields.items()
        if not field.is_required()
    }
    sections = {name: config.get(name, {}) for name in _SECTIONS}
    sections["lm"] = {**defaults, **sections["lm"]}
    # As they come back from a checkpoint: without tuples and paths.
    return srsly.json_loads(srsly.json_dumps(dict_to_dot(sections)))


def check_changes(before: Dict[str, Any], now: Dict[str, Any]) -> None:
    """Make sure that a resumed run is the one that was begun, and log what differs.

    before (Dict[str, Any]): Settings the run began with.
    now (Dict[str, Any]): Settings it is resumed with.
    RAISES (ValueError): If one differs that cannot change.
    """
    allowed: List[str] = []
    refused: List[str] = []
    for name in sorted({*before, *now}):
        old, new = before.get(name, _ABSENT), now.get(name, _ABSENT)
        if old != new:
            changes = allowed if _may_change(name) else refused
            changes.append(f"{name}: {_shown(old)} -> {_shown(new)}")
    if refused:
        raise ValueError(
            f"The run to resume began with other settings: {_joined(refused)}. Resume it "
            "with those it began with, or start another one in a new --output."
        )
    if allowed:
        logger.info("Resumed with changed settings: %s", _joined(allowed))


def _may_change(name: str) -> bool:
    section, _, rest = name.partition(".")
    return section == "lm" and rest.split(".")[0] in _CHANGEABLE


def _shown(value: Any) -> str:
    return value if value == _ABSENT else srsly.json_dumps(value)


def _joined(changes: List[str]) -> str:
    return "; ".join(changes)
