"""Commands of `python -m spacy`; importing them registers them."""

from .embed import embed_cli
from .lm import lm_cli

__all__ = ["embed_cli", "lm_cli"]
