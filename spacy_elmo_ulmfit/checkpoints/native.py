"""The native weight format: one safetensors file that says how to build its module."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..modules.awd_lstm import AWDLSTM, build_awd_lstm
from ..modules.bilm import BiLM, build_bilm
from ..modules.classifier import (
    ULMFiTClassifier,
    build_classifier,
    classifier_settings,
)

FORMAT_VERSION = 2
# Tensors that belong to the model but not to its module.
_EXTRA_PREFIX = "extra."

_BUILDERS: Dict[str, Callable[[Dict[str, Any]], nn.Module]] = {
    BiLM.kind: build_bilm,
    AWDLSTM.kind: build_awd_lstm,
    ULMFiTClassifier.kind: build_classifier,
}


class Checkpoint(NamedTuple):
    """What a weight file holds.

    kind (str): Which module it is, such as `"bilm"`.
    settings (Dict[str, Any]): The plain values that build the module.
    state (Dict[str, Tensor]): Its parameters and buffers.
    extra (Dict[str, Any]): What else was stored with them, such as the vocabulary.
    extra_tensors (Dict[str, Tensor]): Tensors stored with them that are not the
        module's.
    """

    kind: str
    settings: Dict[str, Any]
    state: Dict[str, Tensor]
    extra: Dict[str, Any]
    extra_tensors: Dict[str, Tensor]


def module_settings(module: nn.Module) -> Dict[str, Any]:
    """Return the plain values that build the same module again."""
    if isinstance(module, ULMFiTClassifier):
        return classifier_settings(module)
    if isinstance(module, (BiLM, AWDLSTM)):
        return asdict(module.config)
    raise TypeError(f"No native format for a {type(module).__name__}.")


def build_module(kind: str, settings: Dict[str, Any]) -> nn.Module:
    """Build a module with fresh weights.

    kind (str): `"bilm"`, `"awd_lstm"` or `"ulmfit_classifier"`.
    settings (Dict[str, Any]): Its plain values.
    RETURNS (nn.Module): The module.
    """
    if kind not in _BUILDERS:
        raise ValueError(
            f"Unknown kind of model {kind!r}; this version reads {sorted(_BUILDERS)}."
        )
    return _BUILDERS[kind](settings)


def save_module(
    module: nn.Module,
    *,
    dtype: Optional[torch.dtype] = None,
    extra: Optional[Dict[str, Any]] = None,
    extra_tensors: Optional[Dict[str, Tensor]] = None,
) -> bytes:
    """Write a module to bytes.

    module (nn.Module): A biLM, an AWD-LSTM or a ULMFiT classifier.
    dtype (Optional[torch.dtype]): Store floating point tensors in this type.
    extra (Optional[Dict[str, Any]]): Plain values to store with the weights.
    extra_tensors (Optional[Dict[str, Tensor]]): Tensors to store with them.
    RETURNS (bytes): A safetensors file.
    """
    others = {f"{_EXTRA_PREFIX}{k}": v for k, v in (extra_tensors or {}).items()}
    state = {
        name: tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()
        if tensor.is_floating_point()
        else tensor.detach().cpu()
        for name, tensor in {**module.state_dict(), **others}.items()
    }
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "kind": str(module.kind),
        "settings": json.dumps(module_settings(module), sort_keys=True),
        "extra": json.dumps(extra or {}, ensure_ascii=False),
    }
    return save_tensors(state, metadata=metadata)


def read_checkpoint(
    data: bytes, *, source: Union[str, Path] = "the data"
) -> Checkpoint:
    """Read a module's settings and weights from bytes, weights as float32.

    data (bytes): A file that `save_module` wrote.
    source (Union[str, Path]): Where the bytes come from, for error messages.
    RETURNS (Checkpoint): Kind, settings and weights.
    RAISES (ValueError): If the bytes are damaged, or not such a file.
    """
    try:
        state = load_tensors(data)
        length = int.from_bytes(data[:8], "little")
        metadata = json.loads(data[8 : 8 + length]).get("__metadata__", {})
    except (SafetensorError, ValueError) as error:
        raise ValueError(
            f"{source} is not a readable safetensors file ({error}). "
            "Was it copied completely?"
        ) from error
    version = metadata.get("format_version")
    if version not in ("1", str(FORMAT_VERSION)):
        raise ValueError(
            f"{source} was not written by this package: its header says format "
            f"{version!r}, expected {FORMAT_VERSION!r}."
        )
    tensors = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    if version == "1":
        tensors = {_current_name(name): tensor for name, tensor in tensors.items()}
    return Checkpoint(
        kind=metadata["kind"],
        settings=json.loads(metadata["settings"]),
        state={k: v for k, v in tensors.items() if not k.startswith(_EXTRA_PREFIX)},
        extra=json.loads(metadata["extra"]),
        extra_tensors={
            name[len(_EXTRA_PREFIX) :]: tensor
            for name, tensor in tensors.items()
            if name.startswith(_EXTRA_PREFIX)
        },
    )


def _current_name(name: str) -> str:
    """Translate a tensor's name in format 1, which knew no words as input."""
    if name.startswith("char_encoder.projection."):
        return name.replace("char_encoder.", "token_encoder.", 1)
    if name.startswith("char_encoder."):
        return name.replace("char_encoder.", "token_encoder.characters.", 1)
    return name
