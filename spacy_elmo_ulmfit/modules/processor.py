"""What the processor can do."""

from typing import Any, Callable, Mapping, Sequence

import torch

# How torch calls instructions that multiply bfloat16, and small integers.
_BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")
_INT8_INSTRUCTIONS = ("avx512_vnni", "avx_vnni", "amx_int8")
_INTEL = "Intel"


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 itself, so that it saves time.

    A processor that does not takes several times as long as in float32.

    device (torch.device): The device.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and _has_any(_BFLOAT16_INSTRUCTIONS)


def multiplies_int8() -> bool:
    """Return whether the processor multiplies 8-bit integers without overflow in between."""
    return _has_any(_INT8_INSTRUCTIONS)


def is_foreign_to_mkl() -> bool:
    """Return whether Intel's library, which torch multiplies by, is slow on the processor."""
    name = cpu_name()
    return bool(name) and not name.startswith(_INTEL)


def cpu_name() -> str:
    """Return the processor's name, empty where torch does not tell."""
    return str(_capabilities().get("cpu_name", ""))


def _has_any(instructions: Sequence[str]) -> bool:
    return any(_capabilities().get(name) for name in instructions)


def _capabilities() -> Mapping[str, Any]:
    # Older versions of torch do not tell.
    query: Callable[[], Mapping[str, Any]] = getattr(
        torch.cpu, "get_capabilities", dict
    )
    return query()
