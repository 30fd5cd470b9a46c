"""What a classifier's frozen encoder reads of documents, kept between epochs of training."""

from typing import Dict, List, Sequence, cast

import numpy
import torch
from spacy.tokens import Doc
from torch import Tensor

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.ulmfit_classifier import ClassifierT, pool_words
from ..layers.ulmfit_ensemble import ensemble_members, read_for_members
from ..modules.classifier import ULMFiTClassifier
from ..modules.prepared import Prepared
from .cache import Array, LayerCache
from .fingerprint import text_key


class FrozenReader:
    """Reads documents as in prediction, each once as long as the encoder stays as it is.

    cache_mb (int): Most megabytes to keep for each encoder, 0 to keep and read nothing.
    """

    def __init__(self, cache_mb: int) -> None:
        self.max_bytes = cache_mb * 2**20
        self._caches: Dict[str, Prepared[LayerCache]] = {}

    def applies(self, model: ClassifierT) -> bool:
        """Tell whether documents are to be read here.

        model (Model[List[Doc], Floats2d]): A classifier or an ensemble.
        RETURNS (bool): Whether there is room, and no layer of an encoder learns.
        """
        members = ensemble_members(model).values()
        return self.max_bytes > 0 and not any(
            parameter.requires_grad
            for member in members
            for parameter in _classifier(member).encoder.parameters()
        )

    def read(self, model: ClassifierT, docs: Sequence[Doc]) -> List[Tensor]:
        """Return what the head of each classifier is to learn from.

        model (Model[List[Doc], Floats2d]): A classifier or an ensemble.
        docs (Sequence[Doc]): The documents.
        RETURNS (List[Tensor]): For each classifier what is pooled of the documents.
            *Shape:* `(n_docs, 3 * embedding_dim)`
        """
        members = ensemble_members(model)
        caches = [self._cache(name, member) for name, member in members.items()]
        keys = [text_key(doc) for doc in docs]
        by_key = dict(zip(keys, docs))
        found = [cache.get(by_key) for cache in caches]
        new = {
            key: doc
            for key, doc in by_key.items()
            if not all(key in kept for kept in found)
        }
        if new:
            read = read_for_members(model, list(new.values()))
            for member, words, cache, kept in zip(
                members.values(), read, caches, found
            ):
                pooled = dict(zip(new, pool_words(member, words).cpu().numpy()))
                cache.store(pooled)
                kept.update(pooled)
        return [
            _rows([kept[key] for key in keys], member)
            for member, kept in zip(members.values(), found)
        ]

    def _cache(self, name: str, member: ClassifierT) -> LayerCache:
        """Return a classifier's cache, a new one if its encoder has changed."""
        encoder = _classifier(member).encoder
        weights = [*encoder.buffers(), *encoder.parameters()]
        prepared = self._caches.setdefault(name, Prepared())
        return prepared.get(lambda: LayerCache(self.max_bytes), weights)


def _classifier(member: ClassifierT) -> ULMFiTClassifier:
    return cast(ULMFiTClassifier, cast(AWDLSTMShim, member.shims[0]).module)


def _rows(pooled: Sequence[Array], member: ClassifierT) -> Tensor:
    return torch.from_numpy(numpy.stack(pooled)).to(
        cast(AWDLSTMShim, member.shims[0]).device
    )
