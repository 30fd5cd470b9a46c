"""Commands of `python -m spacy`; importing them registers them."""

from . import export, init, substitutes
from .lm import lm_cli

__all__ = ["export", "init", "lm_cli", "substitutes"]
