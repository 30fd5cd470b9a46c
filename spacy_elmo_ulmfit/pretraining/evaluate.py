"""How well a held-out text is predicted: every token once, states carried."""

import math
from typing import Dict, Iterable, Optional, Tuple

import torch
from torch import Tensor, nn

from ..modules.bilm import BiLM
from ..text import Indexer, Vocabulary
from .batching.layout import NO_TARGET, Window, create_layout
from .batching.windows import held_out_windows
from .corpus.stream import TokenStream
from .losses.objectives import Objective, create_objective
from .losses.target_vectors import VectorLoss, have_vectors

_WINDOW = 128


def evaluate_language_model(
    module: nn.Module,
    streams: Iterable[TokenStream],
    vocabulary: Vocabulary,
    *,
    indexer: Optional[Indexer] = None,
) -> Dict[str, float]:
    """Compute the perplexity of a text, by the whole softmax.

    module (nn.Module): A biLM with its softmax, or an AWD-LSTM.
    streams (Iterable[TokenStream]): The shards of the text.
    vocabulary (Vocabulary): The words the module predicts.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    RETURNS (Dict[str, float]): `perplexity` (of both directions together),
        `perplexity_forward` or `perplexity_backward`, a biLM both;
        `unigram_perplexity`, that of the training text's word frequencies;
        `oov_rate`, the share of targets outside the vocabulary; `n_words`, the size of
        the vocabulary; `n_tokens`, the number of targets per direction.
    """
    objective = create_objective(module)
    layout = create_layout(module, vocabulary, indexer)
    log_probs = vocabulary.unigram_log_probs()
    n_unknown, unigram = 0, 0.0

    def read(window: Window) -> Window:
        nonlocal n_unknown, unigram
        targets = window.targets[0][window.targets[0] != NO_TARGET]
        unigram -= float(log_probs[targets].sum())
        n_unknown += int((targets == vocabulary.unknown_id).sum())
        return window

    windows = map(read, held_out_windows(streams, layout, _WINDOW))
    losses, n_tokens = _mean_losses(objective, module, windows)
    metrics = {"perplexity": _perplexity(float(losses.mean()))}
    for direction, loss in zip(objective.directions, losses.tolist()):
        metrics[f"perplexity_{direction}"] = _perplexity(loss)
    return {
        **metrics,
        "unigram_perplexity": _perplexity(unigram / n_tokens),
        "oov_rate": n_unknown / n_tokens,
        "n_words": len(vocabulary),
        "n_tokens": n_tokens,
    }


def evaluate_distance(
    module: BiLM,
    streams: Iterable[TokenStream],
    vocabulary: Vocabulary,
    target_vectors: Tensor,
    *,
    indexer: Optional[Indexer] = None,
) -> Dict[str, float]:
    """Compute how far a biLM's predictions are from the vectors of a text's words.

    module (BiLM): A biLM that predicts word vectors.
    streams (Iterable[TokenStream]): The shards of the text.
    vocabulary (Vocabulary): The words that may have a vector.
    target_vectors (Tensor): Their vectors, zeros for those that have none.
        *Shape:* `(n_words, vector_width)`
    indexer (Optional[Indexer]): How words are read; by default as UTF-8 bytes.
    RETURNS (Dict[str, float]): `distance`, the mean cosine distance, and that of each
        direction; `n_words`, the words that have a vector; `n_tokens`, the number of
        targets per direction. There is no perplexity.
    """
    are_targets = have_vectors(target_vectors)
    objective = create_objective(module, loss=VectorLoss(module, target_vectors))
    layout = create_layout(module, vocabulary, indexer, are_targets=are_targets)
    windows = held_out_windows(streams, layout, _WINDOW)
    losses, n_tokens = _mean_losses(objective, module, windows)
    metrics = {"distance": float(losses.mean())}
    for direction, loss in zip(objective.directions, losses.tolist()):
        metrics[f"distance_{direction}"] = loss
    return {**metrics, "n_words": int(are_targets.sum()), "n_tokens": n_tokens}


@torch.no_grad()
def _mean_losses(
    objective: Objective, module: nn.Module, windows: Iterable[Window]
) -> Tuple[Tensor, int]:
    """Return the mean loss of a target in each direction, and the number of targets."""
    losses = torch.zeros(len(objective.directions), dtype=torch.float64)
    n_targets, state = 0.0, None
    was_training = module.training
    module.eval()
    for window in windows:
        if state is None:
            state = objective.zero_state(window.batch_size)
        result = objective.step(window, state)
        state = result.state
        losses += result.losses.double().cpu()
        n_targets += result.n_targets
    module.train(was_training)
    return losses / max(n_targets, 1.0), round(n_targets)


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))
