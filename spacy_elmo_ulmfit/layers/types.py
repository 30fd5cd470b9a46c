"""Signatures of the package's thinc models."""

from typing import List

from spacy.tokens import Doc
from thinc.api import Model
from thinc.types import Floats2d, Floats3d

# All layers of every document: (n_layers, n_tokens, width) each.
DocLayers = List[Floats3d]
LanguageModelT = Model[List[Doc], DocLayers]
MixT = Model[DocLayers, List[Floats2d]]
Tok2VecT = Model[List[Doc], List[Floats2d]]
