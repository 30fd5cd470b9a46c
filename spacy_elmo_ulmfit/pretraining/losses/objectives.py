"""What the two kinds of language model are trained to do, on windows of text."""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Protocol, Tuple

import torch
from torch import Tensor, nn

from ...modules.awd_lstm import (
    AWDLSTM,
    activation_regularization,
    detach_state,
    map_state,
)
from ...modules.bilm import BiLM
from ...modules.bilm_state import BiLMState
from ...text import BEGIN_SENTENCE, END_SENTENCE, LMTokenizer, Vocabulary
from ...text.vocabulary import BILM_SPECIALS
from ...text.vocabulary import UNKNOWN as BILM_UNKNOWN
from ..batching.layout import NO_TARGET, Window
from .word_losses import (
    LanguageModel,
    SampledSoftmaxLoss,
    SoftmaxLoss,
    WordLoss,
    softmax_of,
)


@dataclass
class StepResult:
    """What one window gave.

    losses (Tensor): Summed loss of each direction: the negative log-likelihood in
        nats, or what takes its place in training. *Shape:* `(n_directions,)`
    n_targets (float): Targets per direction, their mean.
    penalty (Tensor): Regularisation of the window, a scalar.
    state (Any): The carried state.
    """

    losses: Tensor
    n_targets: float
    penalty: Tensor
    state: Any


class Objective(Protocol):
    """How a language model is trained."""

    directions: Tuple[str, ...]
    device: torch.device

    def compile(self) -> None:
        """Compile what comes before the loss, by `torch.compile`, at its first use."""

    def zero_state(self, batch_size: int) -> Any:
        """Return the state that rows start from."""

    def mask_state(self, state: Any, keep: Tensor) -> Any:
        """Set the state of some rows to zeros.

        state (Any): The carried state.
        keep (Tensor): 1 for a row to keep, 0 for one to start anew. *Shape:* `(batch,)`
        RETURNS (Any): The new state.
        """

    def step(self, window: Window, state: Any) -> StepResult:
        """Read one window and predict its targets.

        window (Window): The window.
        state (Any): The carried state.
        RETURNS (StepResult): Losses and the state after the window.
        """


def build_vocabulary(
    counts: Dict[str, int],
    tokenizer: Optional[LMTokenizer],
    *,
    max_size: int,
    min_freq: int,
) -> Vocabulary:
    """Take the words that a language model shall predict.

    counts (Dict[str, int]): Occurrences of each word in the training text.
    tokenizer (Optional[LMTokenizer]): How an AWD-LSTM reads text; `None` for a biLM.
    max_size (int): Largest size, 0 for no limit.
    min_freq (int): Rarer words become the unknown word.
    RETURNS (Vocabulary): The words, specials first.
    """
    if tokenizer is not None:
        specials, unknown = tokenizer.specials, tokenizer.unknown
    else:
        specials, unknown = BILM_SPECIALS, BILM_UNKNOWN
        # One boundary symbol stands in the stream for both.
        counts = {**counts, END_SENTENCE: counts.get(BEGIN_SENTENCE, 0)}
    return Vocabulary.build(
        counts, specials=specials, unknown=unknown, max_size=max_size, min_freq=min_freq
    )


def create_objective(
    module: nn.Module,
    *,
    dtype: torch.dtype = torch.float32,
    alpha: float = 0.0,
    beta: float = 0.0,
    n_samples: int = 0,
    loss: Optional[WordLoss] = None,
) -> Objective:
    """Set up the objective of a module.

    module (nn.Module): A biLM with its softmax, or an AWD-LSTM.
    dtype (torch.dtype): Precision of the large matrix products.
    alpha (float): Weight of AR, for the AWD-LSTM.
    beta (float): Weight of TAR, for the AWD-LSTM.
    n_samples (int): Words of a sampled softmax, 0 for the model's own softmax.
    loss (Optional[WordLoss]): Another loss than that of a softmax.
    RETURNS (Objective): The objective.
    RAISES (ValueError): If the module has no softmax, or not one for the samples.
    """
    if not isinstance(module, (BiLM, AWDLSTM)):
        raise TypeError(f"No language model objective for {type(module).__name__}.")
    loss = loss or _create_loss(module, n_samples, dtype)
    if isinstance(module, BiLM):
        return BiLMObjective(module, loss)
    return AWDLSTMObjective(module, loss, dtype=dtype, alpha=alpha, beta=beta)


def _create_loss(module: LanguageModel, n_samples: int, dtype: torch.dtype) -> WordLoss:
    softmax_of(module)
    if n_samples:
        return SampledSoftmaxLoss(module, n_samples, dtype)
    return SoftmaxLoss(module, dtype)


class BiLMObjective:
    """Predict the next word and the previous word, one softmax for both."""

    def __init__(self, module: BiLM, loss: WordLoss) -> None:
        self.module, self.loss = module, loss
        self._stream = module.stream
        self.directions = ("forward", "backward")[: module.n_directions]
        self.device = module.warm_hidden.device

    def compile(self) -> None:
        """See `Objective.compile`."""
        self._stream = torch.compile(self._stream)

    def zero_state(self, batch_size: int) -> BiLMState:
        """See `Objective.zero_state`."""
        return self.module.initial_state(batch_size, "zeros")

    def mask_state(self, state: BiLMState, keep: Tensor) -> BiLMState:
        """See `Objective.mask_state`."""
        rows = keep.to(self.device).unsqueeze(1)
        return state.map(lambda part: part * rows)

    def step(self, window: Window, state: BiLMState) -> StepResult:
        """See `Objective.step`."""
        words = torch.from_numpy(window.words).long().to(self.device)
        word_index = torch.from_numpy(window.inputs).to(self.device)
        outputs, state = self._stream(words, word_index, state)
        losses = self.loss(list(outputs), window.targets)
        # Where words without a vector are no targets, directions differ by a few.
        n_targets = int((window.targets != NO_TARGET).sum()) / len(self.directions)
        return StepResult(losses, n_targets, outputs.new_zeros(()), state)


class AWDLSTMObjective:
    """Predict the next word, with AR and TAR; a backward model's is the one before."""

    def __init__(
        self,
        module: AWDLSTM,
        loss: WordLoss,
        *,
        dtype: torch.dtype,
        alpha: float,
        beta: float,
    ) -> None:
        self.module, self.loss, self.dtype = module, loss, dtype
        self.directions: Tuple[str, ...] = (module.config.direction,)
        self._encode = module.encode
        self.alpha, self.beta = alpha, beta
        self.device = module.embedding.weight.device

    def compile(self) -> None:
        """See `Objective.compile`."""
        self._encode = torch.compile(self._encode)

    def zero_state(self, batch_size: int) -> Any:
        """See `Objective.zero_state`."""
        return self.module.zero_state(batch_size)

    def mask_state(self, state: Any, keep: Tensor) -> Any:
        """See `Objective.mask_state`."""
        rows = keep.to(self.device).view(1, -1, 1)
        return map_state(state, lambda part: part * rows)

    def step(self, window: Window, state: Any) -> StepResult:
        """See `Objective.step`."""
        ids = torch.from_numpy(window.inputs[0]).to(self.device)
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=half):
            encoded = self._encode(ids, state)
        output = encoded.output.float()
        penalty = activation_regularization(
            output, encoded.raw_outputs[-1], self.alpha, self.beta
        )
        return StepResult(
            self.loss([output], window.targets),
            float((window.targets[0] != NO_TARGET).sum()),
            penalty,
            map_state(detach_state(encoded.state), torch.Tensor.float),
        )
