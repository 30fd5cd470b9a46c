"""Sampled softmax: a step predicts its words among a sample of the vocabulary.

Jozefowicz et al. 2016 (arXiv:1602.02410); candidates, their expected counts and hits are
those of TensorFlow, by which the published biLMs were trained.
"""

import math
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F
from torch import Tensor

from .lookup import look_up

# Added to the logit of a sampled word that is the target itself.
_HIT = -1e9


class WordSample(NamedTuple):
    """Distinct words drawn from a log-uniform distribution over ranks.

    ids (Tensor): The words, by rising id. *Shape:* `(n_samples,)`
    n_tries (int): Draws it took to find so many.
    n_words (int): Size of the vocabulary.
    """

    ids: Tensor
    n_tries: int
    n_words: int

    def log_expected_counts(self, ids: Tensor) -> Tensor:
        """Return the logarithm of how often words are in such a sample.

        ids (Tensor): Word ids, of any shape.
        RETURNS (Tensor): The same shape.
        """
        ranks = ids.double()
        probs = torch.log1p(1.0 / (ranks + 1.0)) / math.log(self.n_words + 1)
        # That a word is found at least once in n_tries draws.
        return (-torch.expm1(self.n_tries * torch.log1p(-probs))).log().float()


def sample_words(n_samples: int, n_words: int) -> WordSample:
    """Draw distinct words; `P(id) = log((id + 2) / (id + 1)) / log(n_words + 1)`.

    That is near the frequencies of words that are sorted by them. Everything random
    comes from torch's generator of the CPU.

    n_samples (int): Number of distinct words.
    n_words (int): Size of the vocabulary, more than `n_samples`.
    RETURNS (WordSample): The words, by rising id.
    RAISES (ValueError): If there are not more words than are to be sampled.
    """
    check_n_samples(n_samples, n_words)
    drawn = torch.empty(0, dtype=torch.long)
    while True:
        uniform = torch.rand(2 * n_samples, dtype=torch.float64)
        ids = (
            torch.expm1(uniform * math.log(n_words + 1)).long().clamp_(max=n_words - 1)
        )
        drawn = torch.cat([drawn, ids])
        first = torch.full((n_words,), len(drawn))
        first.scatter_reduce_(0, drawn, torch.arange(len(drawn)), "amin")
        found = first[first < len(drawn)]
        if len(found) >= n_samples:
            last = int(found.kthvalue(n_samples).values)
            return WordSample((first <= last).nonzero().squeeze(1), last + 1, n_words)


def check_n_samples(n_samples: int, n_words: int) -> None:
    """Make sure that so many words can be sampled.

    n_samples (int): Number of distinct words.
    n_words (int): Size of the vocabulary.
    RAISES (ValueError): If there are not more words than are to be sampled.
    """
    if not 0 < n_samples < n_words:
        raise ValueError(
            f"[lm] n_samples = {n_samples} words cannot be sampled from a vocabulary of "
            f"{n_words}: it takes fewer than there are. Lower it, or set it to 0 for the "
            "full softmax."
        )


def sampled_softmax_loss(
    hidden: Tensor,
    targets: Tensor,
    weight: Tensor,
    bias: Optional[Tensor],
    sample: WordSample,
    *,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Summed cross-entropy of each target among the words of one sample.

    Logits are lowered by the logarithm of the words' expected counts, which makes
    up for how likely they are to be sampled. A sampled word that is the target is left
    out of the sample for that target.

    hidden (Tensor): Hidden vectors. *Shape:* `(n, input_dim)`
    targets (Tensor): Word ids. *Shape:* `(n,)`
    weight (Tensor): Softmax weights. *Shape:* `(n_words, input_dim)`
    bias (Optional[Tensor]): Softmax bias. *Shape:* `(n_words,)`
    sample (WordSample): The words to tell the targets from.
    dtype (torch.dtype): Precision of the large matrix product.
    RETURNS (Tensor): The sum of the losses in nats, a scalar. It is no perplexity's:
        the fewer the samples, the lower.
    """
    # Sampled words are distinct, targets repeat.
    ids = sample.ids.to(targets.device)
    others = (hidden.to(dtype) @ weight[ids].to(dtype).t()).float()
    others = others - sample.log_expected_counts(ids)
    place = torch.searchsorted(ids, targets).clamp_(max=len(ids) - 1).unsqueeze(1)
    hits = torch.where(ids[place] == targets.unsqueeze(1), _HIT, 0.0)
    others = others.scatter_add(1, place, hits.to(others))
    right = (hidden * look_up(weight, targets)).sum(dim=1)
    right = right - sample.log_expected_counts(targets)
    if bias is not None:
        others = others + bias[ids]
        right = right + look_up(bias.unsqueeze(1), targets).squeeze(1)
    # -log(exp(right) / (exp(right) + sum(exp(others))))
    return F.softplus(others.logsumexp(dim=1) - right).sum()
