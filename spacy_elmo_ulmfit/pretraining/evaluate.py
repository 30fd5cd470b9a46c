"""Perplexity over a held-out text: full softmax, every token once, states carried."""

import math
from typing import Dict, Optional

import numpy
import torch
from torch import nn

from ..text import Indexer, Vocabulary
from .objectives import NO_TARGET, Objective, create_objective
from .stream import TokenStream

_MAX_ROWS = 16
# Rows start without context, so a short text is read in few of them.
_MIN_ROW_LENGTH = 2000
_WINDOW = 128


def evaluate_language_model(
    module: nn.Module,
    stream: TokenStream,
    vocabulary: Vocabulary,
    *,
    indexer: Optional[Indexer] = None,
) -> Dict[str, float]:
    """Compute the perplexity of a text.

    module (nn.Module): A biLM with its softmax, or an AWD-LSTM.
    stream (TokenStream): The text.
    vocabulary (Vocabulary): The words the module predicts.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    RETURNS (Dict[str, float]): `perplexity` (of both directions together),
        `perplexity_forward` and, for a biLM, `perplexity_backward`;
        `unigram_perplexity`, that of the training text's word frequencies;
        `oov_rate`, the share of targets outside the vocabulary; `n_words`, the size of
        the vocabulary; `n_tokens`, the number of targets per direction.
    """
    objective = create_objective(module, stream, vocabulary, indexer=indexer)
    tokens = numpy.asarray(stream.tokens)
    n_rows = max(1, min(_MAX_ROWS, len(tokens) // _MIN_ROW_LENGTH))
    was_training = module.training
    module.eval()
    losses, n_tokens = _total_loss(objective, tokens, n_rows)
    module.train(was_training)
    targets = objective.rows(tokens, n_rows, pad=True).targets[0]
    targets = targets[targets != NO_TARGET]
    unigram = -vocabulary.unigram_log_probs()[targets].mean()
    metrics = {"perplexity": _perplexity(float(losses.mean()) / n_tokens)}
    for direction, loss in zip(objective.directions, losses.tolist()):
        metrics[f"perplexity_{direction}"] = _perplexity(loss / n_tokens)
    return {
        **metrics,
        "unigram_perplexity": _perplexity(float(unigram)),
        "oov_rate": float((targets == vocabulary.unknown_id).mean()),
        "n_words": len(vocabulary),
        "n_tokens": n_tokens,
    }


@torch.no_grad()
def _total_loss(
    objective: Objective, tokens: numpy.ndarray, n_rows: int
) -> "tuple[torch.Tensor, int]":
    rows = objective.rows(tokens, n_rows, pad=True)
    state = objective.zero_state(n_rows)
    losses = torch.zeros(len(objective.directions), dtype=torch.float64)
    n_tokens = 0
    for start in range(0, rows.inputs.shape[2], _WINDOW):
        window = slice(start, start + _WINDOW)
        result = objective.step(
            rows.inputs[:, :, window], rows.targets[:, :, window], state
        )
        state = result.state
        losses += result.losses.double().cpu()
        n_tokens += result.n_targets
    return losses, n_tokens


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))
