"""Words that a biLM expects in the place of another."""

from typing import Dict, List, NamedTuple, Optional, Tuple, cast

import torch
from spacy.tokens import Doc
from torch import Tensor

from ..modules.bilm import BiLM
from ..text import Vocabulary
from ..text.batches import SequenceBatcher
from ..text.vocabulary import BILM_SPECIALS
from .bilm import encode_batch
from .bilm_shim import NO_SOFTMAX, BiLMShim
from .types import LanguageModelT

_CHUNK_ROWS = 256

Candidates = List[Tuple[str, float]]


class Substitutes(NamedTuple):
    """Likely words in a token's place, each with its log-probability in nats.

    forward (List[Tuple[str, float]]): Given the words before it.
    backward (List[Tuple[str, float]]): Given the words after it; empty for a forward
        model.
    both (List[Tuple[str, float]]): Given both, taken as independent of each other:
        the product of the two by the word's frequency, normalised.
    """

    forward: Candidates
    backward: Candidates
    both: Candidates


def find_substitutes(
    model: LanguageModelT, doc: Doc, n: int
) -> List[Optional[Substitutes]]:
    """Let both directions predict every token of a document.

    model (Model): The biLM.
    doc (Doc): The document.
    n (int): Number of words for each token, the likeliest first.
    RETURNS (List[Optional[Substitutes]]): One for each token, `None` for white space.
    RAISES (ValueError): If the biLM has no softmax.
    """
    shim = cast(BiLMShim, model.shims[0])
    module, vocabulary = shim.bilm, shim.vocabulary
    if module.softmax is None or vocabulary is None:
        raise ValueError(NO_SOFTMAX)
    module.eval()
    found: List[Optional[Substitutes]] = [None] * len(doc)
    batcher = SequenceBatcher(
        by=model.attrs["sequences"],
        begin=shim.indexer.begin,
        end=shim.indexer.end,
        keep_boundaries=True,
    )
    with torch.no_grad():
        for batch in batcher.batches([doc], model.attrs["max_batch_tokens"]):
            top = encode_batch(model, batch)[-1]
            tokens = {
                position: row
                for position, (_, row) in enumerate(batch.owners)
                if row < len(doc)
            }
            found_now = _predict(module, vocabulary, top, list(tokens), n)
            for row, substitutes in zip(tokens.values(), found_now):
                found[row] = substitutes
    return found


def _predict(
    module: BiLM, vocabulary: Vocabulary, top: Tensor, positions: List[int], n: int
) -> List[Substitutes]:
    """Predict the words at positions from the outputs beside them."""
    width = module.config.projection_dim
    special = vocabulary.ids(word for word in BILM_SPECIALS if word in vocabulary)
    unigram = torch.from_numpy(vocabulary.unigram_log_probs()).to(top)
    result: List[Substitutes] = []
    for start in range(0, len(positions), _CHUNK_ROWS):
        rows = torch.tensor(positions[start : start + _CHUNK_ROWS], device=top.device)
        log_probs: Dict[str, Tensor] = {
            "forward": module.logits(top[rows - 1, :width]).log_softmax(dim=1)
        }
        if module.n_directions == 2:
            log_probs["backward"] = module.logits(top[rows + 1, width:]).log_softmax(1)
        both = log_probs["forward"]
        if "backward" in log_probs:
            both = (both + log_probs["backward"] - unigram).log_softmax(dim=1)
        log_probs["both"] = both.clone()
        named = {
            name: _best(values, vocabulary, special, n)
            for name, values in log_probs.items()
        }
        backward = named.get("backward", [[] for _ in rows])
        result += map(Substitutes, named["forward"], backward, named["both"])
    return result


def _best(
    log_probs: Tensor, vocabulary: Vocabulary, special: List[int], n: int
) -> List[Candidates]:
    log_probs[:, special] = float("-inf")
    values, ids = log_probs.topk(min(n, log_probs.shape[1] - len(special)), dim=1)
    return [
        [(vocabulary.words[i], value) for i, value in zip(*pair)]
        for pair in zip(ids.tolist(), values.tolist())
    ]
