"""Half precision and compilation: what they need of the machine."""

from typing import Any, Callable

import torch


def create_scaler(dtype: torch.dtype, device: torch.device) -> torch.amp.GradScaler:
    """Create what scales the losses of training in half precision.

    dtype (torch.dtype): Type of the large matrix products.
    device (torch.device): Where they are computed.
    RETURNS (torch.amp.GradScaler): Enabled for float16 alone; the other types have
        exponents that need no scaling.
    RAISES (ValueError): If the device does not compute in float16.
    """
    enabled = dtype == torch.float16
    if enabled and device.type == "cpu":
        raise ValueError(
            '[lm] precision = "float16" needs a GPU (--gpu-id 0). Set it to "bfloat16" '
            'or "float32" to train on the CPU.'
        )
    return torch.amp.GradScaler(device.type, enabled=enabled)


def compile_function(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a part of the training step by `torch.compile`.

    function (Callable): The part.
    RETURNS (Callable): The same, compiled when it is called first.
    RAISES (ValueError): If nothing can be compiled on this machine.
    """
    try:
        torch.compile(torch.sin)(torch.zeros(2))
    # What fails here is a compiler, by errors of many private kinds.
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"[lm] compile = true, but torch.compile does not work here ({reason[0]}). "
            "Install a C++ compiler, such as g++, or set compile = false."
        ) from error
    return torch.compile(function)
