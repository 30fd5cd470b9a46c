"""The shim of a biLM: its weights, how it reads words, and the vectors of known words."""

from typing import Any, Dict, Optional, Sequence, cast

import torch
from thinc.api import Optimizer
from torch import Tensor, nn

from ..checkpoints.native import Checkpoint
from ..modules.bilm import BiLM
from ..modules.products import Precision
from ..text import Indexer, Vocabulary, WordIndexer, read_indexer
from .shim import LanguageModelShim
from .word_vectors import WordVectorCache

_WORDS, _VECTORS = "published_words", "published_vectors"
# What to say to those who want its predictions.
NO_SOFTMAX = (
    "This biLM has no softmax, so it predicts no words: the published files leave it "
    "out. 'python -m spacy lm finetune' trains one on your text."
)


class BiLMShim(LanguageModelShim):
    """A biLM with its indexer.

    settings (Dict[str, Any]): What the config says about the module.
    indexer (Indexer): How words become ids; weights may bring another.
    word_cache (int): Words whose vectors are kept between calls.
    storage (str): Type the weights are stored in: `"float32"`, `"float16"` or `"int8"`.
    precision (str): Type of the numbers multiplied in prediction.
    """

    def __init__(
        self,
        *,
        settings: Dict[str, Any],
        indexer: Indexer,
        word_cache: int = 0,
        storage: str = "float32",
        precision: Precision = "fp32",
    ) -> None:
        super().__init__(
            kind=BiLM.kind,
            settings=settings,
            runtime=["dropout"],
            storage=storage,
            precision=precision,
        )
        self.indexer = indexer
        self.word_vectors = WordVectorCache(word_cache)

    @property
    def bilm(self) -> BiLM:
        """The biLM; an error when there are no weights yet."""
        return cast(BiLM, self.module)

    def word_ids(self, words: Sequence[str]) -> Tensor:
        """Return what the biLM reads of words. *Shape:* `(n_words, n_columns)`"""
        ids = torch.from_numpy(self.indexer.encode(words))
        return ids.to(self.bilm.warm_hidden.device)

    def encode_words(self, words: Sequence[str]) -> Tensor:
        """Return the vectors of words. *Shape:* `(n_words, projection_dim)`

        Without gradients they come from the cache as far as they are known.
        """
        encoder = self.bilm.token_encoder
        if torch.is_grad_enabled() or encoder.characters is None:
            return self._compute(words)
        return self.word_vectors.lookup(words, self._compute, encoder)

    def _compute(self, words: Sequence[str]) -> Tensor:
        return self.bilm.token_encoder(self.word_ids(words))

    def set_indexer(self, indexer: Indexer) -> None:
        """Read words in another way, that of the weights.

        indexer (Indexer): How words become ids.
        """
        self.indexer = indexer
        self.word_vectors.clear()

    def create(self, vocabulary: Optional[Vocabulary], **sizes: Any) -> nn.Module:
        """See `LanguageModelShim.create`; a model of words reads those it predicts."""
        if self.settings["word_dim"] and vocabulary is not None:
            if self.settings["filters"]:
                raise ValueError(
                    "A new biLM reads either characters or words: set word_dim = 0, or "
                    "filters = []."
                )
            self.set_indexer(WordIndexer(vocabulary.words, vocabulary.unknown))
            sizes["n_input_words"] = len(vocabulary)
        return super().create(vocabulary, **sizes)

    def set_module(
        self, module: nn.Module, vocabulary: Optional[Vocabulary]
    ) -> nn.Module:
        """See `LanguageModelShim.set_module`."""
        self.word_vectors.clear()
        return super().set_module(module, vocabulary)

    def finish_update(self, optimizer: Optimizer) -> None:
        """See `TorchShim.finish_update`."""
        super().finish_update(optimizer)
        self.word_vectors.clear()

    def checkpoint(self) -> Checkpoint:
        """See `LanguageModelShim.checkpoint`."""
        checkpoint = super().checkpoint()
        checkpoint.extra["indexer"] = self.indexer.to_json()
        published = self.word_vectors.published(self.bilm.token_encoder)
        if published is not None:
            words, vectors = published
            checkpoint.extra[_WORDS] = words
            checkpoint.extra_tensors[_VECTORS] = vectors
        return checkpoint

    def load(self, checkpoint: Checkpoint, *, source: str = "the weights") -> None:
        """See `LanguageModelShim.load`."""
        super().load(checkpoint, source=source)
        if "indexer" in checkpoint.extra:
            self.set_indexer(read_indexer(checkpoint.extra["indexer"]))
        if _WORDS in checkpoint.extra:
            vectors = checkpoint.extra_tensors[_VECTORS].to(self.bilm.warm_hidden)
            self.word_vectors.publish(
                checkpoint.extra[_WORDS], vectors, self.bilm.token_encoder
            )
