"""Half precision and compilation: what they need of the machine."""

import torch
from spacy.util import logger

from ...modules.processor import multiplies_bfloat16


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
