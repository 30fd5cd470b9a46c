"""Commands of `python -m spacy`; importing them registers them."""

from .lm import lm_cli

__all__ = ["lm_cli"]
