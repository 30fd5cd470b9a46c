"""Given word vectors as what a biLM predicts, instead of words by a softmax.

Li et al. 2019 (TACL, doi:10.1162/tacl_a_00289), ELMo-C: no softmax is computed, and every
word that has a vector can be a target.
"""

from pathlib import Path
from typing import Sequence, Union, cast

import numpy
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ...modules.bilm import BiLM
from ...pipeline.source import load_pipeline
from ...text import Vocabulary
from .word_losses import predictions


def read_target_vectors(source: Union[str, Path], vocabulary: Vocabulary) -> Tensor:
    """Read the vectors of words from a pipeline, scaled to a length of 1.

    source (Union[str, Path]): A pipeline with word vectors: its directory, or the name of
        its package.
    vocabulary (Vocabulary): The words.
    RETURNS (Tensor): The vectors; zeros for words that have none.
        *Shape:* `(n_words, vector_width)`
    RAISES (ValueError): If there is no such pipeline, or none of the words has a vector.
    """
    vocab = load_pipeline(source).vocab
    rows = numpy.zeros((len(vocabulary), vocab.vectors_length), dtype=numpy.float32)
    for number, word in enumerate(vocabulary.words):
        if vocab.has_vector(word):
            rows[number] = vocab.get_vector(word)
    if not rows.any():
        raise ValueError(
            f"[lm] target_vectors = {source} has no vector of any word of the training text. "
            "Name a pipeline with word vectors; 'python -m spacy init vectors' makes one "
            "from a file of vectors."
        )
    return F.normalize(torch.from_numpy(rows))


def have_vectors(vectors: Tensor) -> NDArray[numpy.bool_]:
    """Return which words have a vector.

    vectors (Tensor): *Shape:* `(n_words, vector_width)`
    RETURNS (NDArray): *Shape:* `(n_words,)`
    """
    return vectors.any(dim=1).cpu().numpy()


class VectorLoss:
    """The cosine distance of outputs from the vectors of the words they predict.

    module (BiLM): A biLM whose outputs are mapped to the vectors' width.
    vectors (Tensor): Vectors of length 1 of all words that are targets.
        *Shape:* `(n_words, vector_width)`
    """

    def __init__(self, module: BiLM, vectors: Tensor) -> None:
        self.head = cast(nn.Linear, module.vector_head)
        self.vectors = vectors.to(module.warm_hidden.device)

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """See `WordLoss`."""
        losses = []
        for hidden, goals in predictions(outputs, targets):
            predicted = F.normalize(self.head(hidden))
            losses.append((1.0 - (predicted * self.vectors[goals]).sum(dim=1)).sum())
        return torch.stack(losses)
