"""The settings of a run, and which of them may change when it is resumed."""

import inspect
from typing import Any, Dict, List

import srsly
from spacy.language import Language
from spacy.util import dict_to_dot, logger, registry
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
_PLAIN = (str, int, float, bool, list, tuple, dict, type(None))


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

    A setting that was not written down had its default: runs go on in a later version of
    this package that has more settings.

    before (Dict[str, Any]): Settings the run began with.
    now (Dict[str, Any]): Settings it is resumed with.
    RAISES (ValueError): If one differs that cannot change.
    """
    before, now = ({**_defaults(settings), **settings} for settings in (before, now))
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


def _defaults(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the defaults of all registered functions that settings name."""
    found: Dict[str, Any] = {}
    for name, value in settings.items():
        block, _, key = name.rpartition(".")
        if key == "factory" and Language.has_factory(value):
            defaults = Language.get_factory_meta(value).default_config or {}
        elif key.startswith("@") and registry.has(key[1:], value):
            function = registry.get(key[1:], value)
            defaults = {
                parameter.name: parameter.default
                for parameter in inspect.signature(function).parameters.values()
                if parameter.default is not parameter.empty
            }
        else:
            continue
        for setting, default in defaults.items():
            # A block that is written down is complete, or another function's.
            nested = any(name.startswith(f"{block}.{setting}.") for name in settings)
            if isinstance(default, _PLAIN) and not nested:
                found[f"{block}.{setting}"] = default
    # As settings come back from a checkpoint.
    return srsly.json_loads(srsly.json_dumps(dict_to_dot(found)))


def _may_change(name: str) -> bool:
    section, _, rest = name.partition(".")
    return section == "lm" and rest.split(".")[0] in _CHANGEABLE


def _shown(value: Any) -> str:
    return value if value == _ABSENT else srsly.json_dumps(value)


def _joined(changes: List[str]) -> str:
    return "; ".join(changes)
