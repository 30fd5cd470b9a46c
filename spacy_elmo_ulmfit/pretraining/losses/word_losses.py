"""What the outputs of a language model are held against in training."""

from typing import Iterator, Protocol, Sequence, Tuple, Union

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...modules.awd_lstm import AWDLSTM
from ...modules.bilm import BiLM
from ...modules.heads import Softmax
from ...modules.sampled_softmax import (
    check_n_samples,
    sample_words,
    sampled_softmax_loss,
)
from ..batching.layout import NO_TARGET

LanguageModel = Union[BiLM, AWDLSTM]


class WordLoss(Protocol):
    """How well outputs predict the words that follow them."""

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """Compute the losses of one step.

        outputs (Sequence[Tensor]): Outputs of the top layer in each direction.
            *Shape:* `(batch, n_steps, width)` each
        targets (NDArray): Ids of the words to predict, or `NO_TARGET`.
            *Shape:* `(n_directions, batch, n_steps)`
        RETURNS (Tensor): Summed loss of each direction. *Shape:* `(n_directions,)`
        """


class SoftmaxLoss:
    """The negative log-likelihood by the model's own softmax, full or adaptive.

    module (LanguageModel): A biLM with its softmax, or an AWD-LSTM.
    dtype (torch.dtype): Precision of the large matrix products.
    """

    def __init__(self, module: LanguageModel, dtype: torch.dtype) -> None:
        self.module, self.dtype = module, dtype

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """See `WordLoss`."""
        softmax = softmax_of(self.module)
        return torch.stack(
            [
                softmax.loss(hidden, goals, dtype=self.dtype)
                for hidden, goals in predictions(outputs, targets)
            ]
        )


class SampledSoftmaxLoss:
    """The loss among words sampled anew in each step, the same in both directions.

    module (LanguageModel): A biLM with its softmax, or an AWD-LSTM.
    n_samples (int): Words sampled in each step.
    dtype (torch.dtype): Precision of the large matrix products.
    RAISES (ValueError): If the vocabulary is too small for so many samples, or the
        model has an adaptive softmax.
    """

    def __init__(
        self, module: LanguageModel, n_samples: int, dtype: torch.dtype
    ) -> None:
        softmax = softmax_of(module)
        if softmax.clusters is not None:
            raise ValueError(
                f"The model has an adaptive softmax, which is not sampled: set [lm] "
                f"n_samples = 0, not {n_samples}, or softmax_cutoffs = [] in a new model."
            )
        check_n_samples(n_samples, len(softmax.weight))
        self.module, self.n_samples, self.dtype = module, n_samples, dtype

    def __call__(
        self, outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
    ) -> Tensor:
        """See `WordLoss`."""
        weight, bias, _ = softmax_of(self.module)
        sample = sample_words(self.n_samples, len(weight))
        return torch.stack(
            [
                sampled_softmax_loss(
                    hidden, goals, weight, bias, sample, dtype=self.dtype
                )
                for hidden, goals in predictions(outputs, targets)
            ]
        )


def softmax_of(module: LanguageModel) -> Softmax:
    """Return a model's softmax.

    RAISES (ValueError): If it has none.
    """
    if module.softmax is None:
        raise ValueError(
            "This biLM has no softmax, so it can neither be trained nor evaluated as a "
            "language model."
        )
    return module.softmax


def predictions(
    outputs: Sequence[Tensor], targets: NDArray[numpy.int64]
) -> Iterator[Tuple[Tensor, Tensor]]:
    """Yield what each direction has to predict.

    outputs (Sequence[Tensor]): See `WordLoss`.
    targets (NDArray): See `WordLoss`.
    YIELDS (Tuple[Tensor, Tensor]): Outputs `(n, width)` and their targets `(n,)`.
    """
    for output, words in zip(outputs, targets):
        goals = torch.from_numpy(numpy.ascontiguousarray(words)).to(output.device)
        goals = goals.reshape(-1)
        hidden = output.reshape(len(goals), -1)
        keep = goals != NO_TARGET
        if not bool(keep.all()):
            hidden, goals = hidden[keep], goals[keep]
        yield hidden, goals
