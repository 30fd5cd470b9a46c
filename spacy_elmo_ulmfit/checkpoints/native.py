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

FORMAT_VERSION = 1

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
    """

    kind: str
    settings: Dict[str, Any]
    state: Dict[str, Tensor]
    extra: Dict[str, Any]


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
) -> bytes:
    """Write a module to bytes.

    module (nn.Module): A biLM, an AWD-LSTM or a ULMFiT classifier.
    dtype (Optional[torch.dtype]): Store floating point tensors in this type.
    extra (Optional[Dict[str, Any]]): Plain values to store with the weights.
    RETURNS (bytes): A safetensors file.
    """
    state = {
        name: tensor.detach().cpu().to(dtype or tensor.dtype).contiguous()
        if tensor.is_floating_point()
        else tensor.detach().cpu()
        for name, tensor in module.state_dict().items()
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
    if metadata.get("format_version") != str(FORMAT_VERSION):
        raise ValueError(
            f"{source} was not written by this package: its header says format "
            f"{metadata.get('format_version')!r}, expected {FORMAT_VERSION!r}."
        )
    state = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in state.items()
    }
    return Checkpoint(
        kind=metadata["kind"],
        settings=json.loads(metadata["settings"]),
        state=state,
        extra=json.loads(metadata["extra"]),
    )
