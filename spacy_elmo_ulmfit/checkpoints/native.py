"""The native weight format: one safetensors file that says how to build its module."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Callable, Dict, Literal, NamedTuple, Optional, Union

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn

from ..__about__ import __version__
from ..modules.awd_lstm import AWDLSTM, build_awd_lstm
from ..modules.bilm import BiLM, build_bilm
from ..modules.classifier import (
    ULMFiTClassifier,
    build_classifier,
    classifier_settings,
)
from .quantization import dequantize, is_worth_quantizing, quantize

# What `storage` of the architectures can be.
Storage = Literal["float32", "float16", "int8"]

FORMAT_VERSION = 3
# Of files without quantized tensors, which earlier versions read too.
_PLAIN_VERSION = 2
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
    """Write a module to bytes; the same module gives the same bytes.

    module (nn.Module): A biLM, an AWD-LSTM or a ULMFiT classifier.
    dtype (Optional[torch.dtype]): Store floating point tensors in this type. With
        `torch.int8` large matrices are stored as whole numbers with a scale for each
        row, and other tensors as with `torch.float16`.
    extra (Optional[Dict[str, Any]]): Plain values to store with the weights.
    extra_tensors (Optional[Dict[str, Tensor]]): Tensors to store with them, never as
        whole numbers.
    RETURNS (bytes): A safetensors file.
    RAISES (ValueError): If a matrix to store as whole numbers is not finite.
    """
    others = {f"{_EXTRA_PREFIX}{k}": v for k, v in (extra_tensors or {}).items()}
    tensors = {
        name: tensor.detach().cpu()
        for name, tensor in {**module.state_dict(), **others}.items()
    }
    encodings: Dict[str, str] = {}
    if dtype == torch.int8:
        # Buffers, such as the states that sequences start from, are no matrices.
        matrices = [n for n, p in module.named_parameters() if is_worth_quantizing(p)]
        quantized, encodings = quantize(
            {name: tensors.pop(name) for name in matrices}, matrices
        )
        state = {**_converted(tensors, torch.float16), **quantized}
    else:
        state = _converted(tensors, dtype)
    metadata = {
        "format_version": str(FORMAT_VERSION if encodings else _PLAIN_VERSION),
        "package_version": __version__,
        "kind": str(module.kind),
        "settings": json.dumps(module_settings(module), sort_keys=True),
        "extra": json.dumps(extra or {}, ensure_ascii=False),
    }
    if encodings:
        metadata["encodings"] = json.dumps(encodings)
    return _with_sorted_metadata(save_tensors(state, metadata=metadata))


def _converted(
    tensors: Dict[str, Tensor], dtype: Optional[torch.dtype]
) -> Dict[str, Tensor]:
    """Convert floating point tensors, but those whose values the type cannot hold."""
    converted = dict(tensors)
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            stored = tensor.to(dtype or tensor.dtype).contiguous()
            overflows = not torch.equal(stored.isinf(), tensor.isinf())
            converted[name] = tensor.float().contiguous() if overflows else stored
    return converted


def _with_sorted_metadata(data: bytes) -> bytes:
    """Sort what safetensors writes in an order that differs from call to call."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    # As safetensors has it, so that tensors begin at a multiple of 8 bytes.
    text += b" " * (-len(text) % 8)
    tensors = memoryview(data)[8 + length :]
    return b"".join([len(text).to_bytes(8, "little"), text, tensors])


def read_checkpoint(
    data: bytes, *, source: Union[str, Path] = "the data"
) -> Checkpoint:
    """Read a module's settings and weights from bytes, weights as float32.

    data (bytes): A file that `save_module` wrote.
    source (Union[str, Path]): Where the bytes come from, for error messages.
    RETURNS (Checkpoint): Kind, settings and weights.
    RAISES (ValueError): If the bytes are damaged, not such a file, or of a later version.
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
    _check_version(version, metadata.get("package_version"), source)
    state = dequantize(
        state, json.loads(metadata.get("encodings", "{}")), source=source
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


def _check_version(version: Any, writer: Any, source: Union[str, Path]) -> None:
    known = [str(number) for number in range(1, FORMAT_VERSION + 1)]
    if version in known:
        return
    if isinstance(version, str) and version.isdecimal() and int(version) > len(known):
        needed = f">={writer}" if writer else f">{__version__}"
        raise ValueError(
            f"{source} was written by a later version of spacy-elmo-ulmfit: its header "
            f"says format {version!r}, version {__version__} reads up to "
            f"{FORMAT_VERSION!r}. Install one that can read it: "
            f"pip install 'spacy-elmo-ulmfit{needed}'."
        )
    raise ValueError(
        f"{source} was not written by this package: its header says format "
        f"{version!r}, expected {FORMAT_VERSION!r}."
    )


def _current_name(name: str) -> str:
    """Translate a tensor's name in format 1, which knew no words as input."""
    if name.startswith("char_encoder.projection."):
        return name.replace("char_encoder.", "token_encoder.", 1)
    if name.startswith("char_encoder."):
        return name.replace("char_encoder.", "token_encoder.characters.", 1)
    return name
