"""Why a text classifier decides as it does, and where it goes wrong."""

from .error_analysis import Classification, classify, read_classification
from .error_page import render_errors
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
    "Classification",
    "Explanation",
    "classify",
    "correlation",
    "explain",
    "read_classification",
    "render",
    "render_errors",
]
