"""Half precision and compilation: what they need of the machine."""

from typing import Any, Callable, Mapping

import torch
from spacy.util import logger

# How torch calls instructions that multiply bfloat16.
_BFLOAT16_INSTRUCTIONS = ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16")


def multiplies_bfloat16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 itself, so that it saves time.

    A processor that does not takes several times as long as in float32.

    device (torch.device): The device.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Older versions of torch do not tell.
    query: Callable[[], Mapping[str, Any]] = getattr(
        torch.cpu, "get_capabilities", dict
    )
    capabilities = query()
    return any(capabilities.get(name) for name in _BFLOAT16_INSTRUCTIONS)


def check_machine(
    device: torch.device, *, dtype: torch.dtype, compile: bool = False
) -> None:
    """Make sure that a machine can do what the settings of a training ask of it.

    device (torch.device): What the language model is trained on.
    dtype (torch.dtype): Type of the large matrix products.
    compile (bool): Whether the training step is compiled.
    RAISES (ValueError): If it cannot.
    """
    if dtype == torch.float16 and device.type == "cpu":
        raise ValueError(
            '[lm] precision = "float16" needs a GPU (--gpu-id 0). Set it to "bfloat16" '
            'or "float32" to train on the CPU.'
        )
    if dtype == torch.bfloat16 and not multiplies_bfloat16(device):
        logger.warning(
            'This machine does not multiply bfloat16 itself: with [lm] precision = "float32", '
            'or "auto", a step takes less than half the time.'
        )
    if not compile:
        return
    try:
        torch.compile(torch.sin)(torch.zeros(2, device=device))
    # What fails here is a compiler, by errors of many private kinds.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"[lm] compile = true, but torch.compile does not work here ({reason[0]}). "
            "Install a C++ compiler, such as g++, or set compile = false."
        ) from error


def create_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """Create what scales the losses of training in half precision.

    dtype (torch.dtype): Type of the large matrix products.
    device (torch.device): Where they are computed.
    RETURNS (torch.amp.GradScaler): Enabled for float16 alone; the exponents of other
        types are large enough without.
    """
    return torch.amp.GradScaler(device.type, enabled=dtype == torch.float16)
