"""What decides the layers of a document: the language model, and what it reads of it."""

import hashlib
import importlib.metadata
import itertools
import json
import unicodedata
from typing import Any, Dict, Hashable, Iterable, cast

import torch
from spacy.attrs import IS_SPACE, LENGTH, LOWER, SPACY
from spacy.tokens import Doc
from torch import Tensor

from ..__about__ import __version__
from ..layers.shim import LanguageModelShim
from ..layers.types import LanguageModelT
from ..modules.prepared import weights_key
from ..text.sequences import SequenceKind, sequence_spans

# Raised when the same weights and settings give other layers, or are kept otherwise.
_FORMAT = 1
# Settings of how much is computed at a time.
_BATCH_SIZES = ("max_batch_tokens", "batch_size")
# What splits text into words, in the languages whose tokenizers are programs of their
# own too, and what multiplies matrices.
_LIBRARIES = (
    "spacy",
    "torch",
    "sentencepiece",
    "jieba",
    "natto-py",
    "pythainlp",
    "pyvi",
    "spacy-pkuseg",
    "sudachidict-core",
    "sudachipy",
)


def fingerprint(model: LanguageModelT) -> str:
    """Return a text that differs for language models that give other layers.

    model (Model): A language model.
    RETURNS (str): SHA-256 of its weights, how it reads text, the settings that matter
        in prediction and the versions of this package and of what it computes with.
    RAISES (ValueError): If the model has no weights yet.
    """
    shim = cast(LanguageModelShim, model.shims[0])
    checkpoint = shim.checkpoint()
    tensors = [
        *sorted(checkpoint.state.items()),
        *sorted(checkpoint.extra_tensors.items()),
    ]
    # Those without weights are dropouts.
    settings = {
        name: value
        for name, value in checkpoint.settings.items()
        if name not in shim.runtime
    }
    plain = {
        "format": _FORMAT,
        "versions": _versions(),
        "kind": checkpoint.kind,
        "settings": settings,
        "precision": shim.precision,
        "attributes": _settings(model),
        "extra": checkpoint.extra,
        "tensors": [
            [name, str(tensor.dtype), list(tensor.shape)] for name, tensor in tensors
        ],
    }
    header = json.dumps(plain, sort_keys=True).encode("ascii")
    # One after the other: on a GPU they are copied.
    contents = (_content(tensor) for _, tensor in tensors)
    return _digest(itertools.chain([header], contents)).hex()


def state_key(model: LanguageModelT) -> Hashable:
    """Return what changes with a language model's weights or settings, at little cost.

    It is comparable within a process only.

    model (Model): A language model.
    """
    shim = cast(LanguageModelShim, model.shims[0])
    weights = [*shim.module.buffers(), *shim.module.parameters()]
    return weights_key(weights), tuple(sorted(_settings(model).items()))


def words_key(doc: Doc, sequences: SequenceKind) -> bytes:
    """Return what tells documents apart for a biLM: words, and sequences of them.

    doc (Doc): The document.
    sequences (str): What is read as one sequence; see `token_sequences`.
    """
    words = "".join(token.text for token in doc)
    spans = [(span.start, span.stop) for span in sequence_spans(doc, sequences)]
    tokens = doc.to_array([LENGTH, IS_SPACE]).tobytes()
    return _digest([words.encode("utf-8"), tokens, repr(spans).encode("ascii")])


def text_key(doc: Doc) -> bytes:
    """Return what tells documents apart for an AWD-LSTM: the text, and its tokens.

    doc (Doc): The document.
    """
    tokens = doc.to_array([LENGTH, SPACY, IS_SPACE, LOWER])
    return _digest([doc.text.encode("utf-8"), tokens.tobytes()])


def _settings(model: LanguageModelT) -> Dict[str, Any]:
    """Return the settings beside the weights; new ones count until told otherwise."""
    return {
        name: value
        for name, value in model.attrs.items()
        if isinstance(value, (str, int, float)) and name not in _BATCH_SIZES
    }


def _versions() -> Dict[str, str]:
    versions = {
        "spacy-elmo-ulmfit": __version__,
        "unicode": unicodedata.unidata_version,
    }
    for name in _LIBRARIES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def _content(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().flatten()
    return flat.view(torch.uint8).numpy().data


def _digest(parts: Iterable["bytes | memoryview"]) -> bytes:
    """Return the SHA-256 of parts, none of which can be taken for another's end."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()
