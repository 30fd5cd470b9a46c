"""Why a text classifier decides as it does, and where it goes wrong."""

from .explanation import (
    INPUT_GRADIENTS,
    INTRINSIC_ATTENTION,
    METHODS,
    OCCLUSION,
    Explanation,
    correlation,
    explain,
)
from .render import render

__all__ = [
    "INPUT_GRADIENTS",
    "INTRINSIC_ATTENTION",
    "METHODS",
    "OCCLUSION",
    "Explanation",
    "correlation",
    "explain",
    "render",
]
