"""Perplexity over a held-out text: full softmax, every token once, states carried."""

import math
from typing import Dict, Iterable, Optional

import torch
from torch import nn

from ..text import Indexer, Vocabulary
from .layout import NO_TARGET, create_layout
from .objectives import create_objective
from .stream import TokenStream
from .windows import held_out_windows

_WINDOW = 128


@torch.no_grad()
def evaluate_language_model(
    module: nn.Module,
    streams: Iterable[TokenStream],
    vocabulary: Vocabulary,
    *,
    indexer: Optional[Indexer] = None,
) -> Dict[str, float]:
    """Compute the perplexity of a text.

    module (nn.Module): A biLM with its softmax, or an AWD-LSTM.
    streams (Iterable[TokenStream]): The shards of the text.
    vocabulary (Vocabulary): The words the module predicts.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    RETURNS (Dict[str, float]): `perplexity` (of both directions together),
        `perplexity_forward` and, for a biLM, `perplexity_backward`;
        `unigram_perplexity`, that of the training text's word frequencies;
        `oov_rate`, the share of targets outside the vocabulary; `n_words`, the size of
        the vocabulary; `n_tokens`, the number of targets per direction.
    """
    objective = create_objective(module)
    layout = create_layout(module, vocabulary, indexer)
    log_probs = vocabulary.unigram_log_probs()
    losses = torch.zeros(len(objective.directions), dtype=torch.float64)
    n_tokens, n_unknown, unigram = 0, 0, 0.0
    state = None
    was_training = module.training
    module.eval()
    for window in held_out_windows(streams, layout, _WINDOW):
        if state is None:
            state = objective.zero_state(window.batch_size)
        result = objective.step(window, state)
        state = result.state
        losses += result.losses.double().cpu()
        n_tokens += result.n_targets
        targets = window.targets[0][window.targets[0] != NO_TARGET]
        unigram -= float(log_probs[targets].sum())
        n_unknown += int((targets == vocabulary.unknown_id).sum())
    module.train(was_training)
    metrics = {"perplexity": _perplexity(float(losses.mean()) / n_tokens)}
    for direction, loss in zip(objective.directions, losses.tolist()):
        metrics[f"perplexity_{direction}"] = _perplexity(loss / n_tokens)
    return {
        **metrics,
        "unigram_perplexity": _perplexity(unigram / n_tokens),
        "oov_rate": n_unknown / n_tokens,
        "n_words": len(vocabulary),
        "n_tokens": n_tokens,
    }


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))
