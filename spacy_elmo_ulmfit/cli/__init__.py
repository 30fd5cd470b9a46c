"""Commands of `python -m spacy`; importing them registers them."""

from ..cli import embed, export, find_lr, generate, init, substitutes
from .lm import lm_cli
from .ulmfit import ulmfit_cli

__all__ = [
    "embed",
    "export",
    "find_lr",
    "generate",
    "init",
    "lm_cli",
    "substitutes",
    "ulmfit_cli",
]
