"""What the two kinds of language model are trained to do, on streams of text."""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Protocol, Tuple

import numpy
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..modules.awd_lstm import (
    AWDLSTM,
    activation_regularization,
    detach_state,
    map_state,
)
from ..modules.bilm import BiLM, BiLMState
from ..text import (
    BEGIN_SENTENCE,
    END_SENTENCE,
    ByteIndexer,
    Indexer,
    LMTokenizer,
    Vocabulary,
)
from ..text.vocabulary import BILM_SPECIALS
from ..text.vocabulary import UNKNOWN as BILM_UNKNOWN
from .stream import Tokens, TokenStream
from .word_losses import (
    NO_TARGET,
    LanguageModel,
    SampledSoftmaxLoss,
    SoftmaxLoss,
    WordLoss,
    softmax_of,
)


@dataclass
class Rows:
    """Contiguous text in rows, one set of rows per direction.

    inputs (NDArray): Word types. *Shape:* `(n_directions, batch, n_steps)`
    targets (NDArray): Ids of the words to predict, or -1. The same shape.
    """

    inputs: NDArray[numpy.int64]
    targets: NDArray[numpy.int64]


@dataclass
class StepResult:
    """What one window of the rows gave.

    losses (Tensor): Summed loss of each direction: the negative log-likelihood in
        nats, or what takes its place in training. *Shape:* `(n_directions,)`
    n_targets (int): Targets per direction.
    penalty (Tensor): Regularisation of the window, a scalar.
    state (Any): The carried state.
    """

    losses: Tensor
    n_targets: int
    penalty: Tensor
    state: Any


class Objective(Protocol):
    """How a language model is trained on streams."""

    directions: Tuple[str, ...]
    device: torch.device

    def compile(self) -> None:
        """Compile what comes before the loss, by `torch.compile`, at its first use."""

    def rows(self, tokens: Tokens, batch_size: int, *, pad: bool) -> Rows:
        """Lay a stream out in rows.

        tokens (NDArray): Word types in reading order. *Shape:* `(n_tokens,)`
        batch_size (int): Number of rows per direction.
        pad (bool): Fill the last row up; otherwise the rest of the text is dropped.
        RETURNS (Rows): Inputs and targets.
        """

    def zero_state(self, batch_size: int) -> Any:
        """Return the state that rows start from."""

    def mask_state(self, state: Any, keep: Tensor) -> Any:
        """Set the state of some rows to zeros.

        state (Any): The carried state.
        keep (Tensor): 1 for a row to keep, 0 for one to start anew. *Shape:* `(batch,)`
        RETURNS (Any): The new state.
        """

    def step(
        self, inputs: NDArray[numpy.int64], targets: NDArray[numpy.int64], state: Any
    ) -> StepResult:
        """Read one window and predict its targets.

        inputs (NDArray): A window of `Rows.inputs`. *Shape:*
            `(n_directions, batch, n_steps)`
        targets (NDArray): The same window of `Rows.targets`.
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
    stream: TokenStream,
    vocabulary: Vocabulary,
    *,
    indexer: Optional[Indexer] = None,
    dtype: torch.dtype = torch.float32,
    alpha: float = 0.0,
    beta: float = 0.0,
    n_samples: int = 0,
    loss: Optional[WordLoss] = None,
) -> Objective:
    """Set up the objective of a module on a stream.

    module (nn.Module): A biLM with its softmax, or an AWD-LSTM.
    stream (TokenStream): The text.
    vocabulary (Vocabulary): The words to predict.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
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
    softmax_of(module)
    loss = loss or _create_loss(module, n_samples, dtype)
    if isinstance(module, BiLM):
        indexer = indexer or ByteIndexer(module.config.max_chars)
        return BiLMObjective(module, stream.types, vocabulary, indexer, loss)
    return AWDLSTMObjective(
        module, stream.types, vocabulary, loss, dtype=dtype, alpha=alpha, beta=beta
    )


def _create_loss(module: LanguageModel, n_samples: int, dtype: torch.dtype) -> WordLoss:
    if n_samples:
        return SampledSoftmaxLoss(module, n_samples, dtype)
    return SoftmaxLoss(module, dtype)


class BiLMObjective:
    """Predict the next word and the previous word, one softmax for both.

    The backward rows hold the text reversed, so both directions carry their state
    from window to window.
    """

    def __init__(
        self,
        module: BiLM,
        types: List[str],
        vocabulary: Vocabulary,
        indexer: Indexer,
        loss: WordLoss,
    ) -> None:
        self.module, self.loss = module, loss
        self._stream = module.stream
        self.directions = ("forward", "backward")[: module.n_directions]
        self.device = module.warm_hidden.device
        # Computed once per word type, not once per occurrence.
        boundaries = {BEGIN_SENTENCE: indexer.begin, END_SENTENCE: indexer.end}
        ids = indexer.encode([boundaries.get(word, word) for word in types])
        self._words = torch.from_numpy(ids.astype(numpy.int32))
        self._target_ids = numpy.asarray(vocabulary.ids(types))
        self._begin, self._end = types.index(BEGIN_SENTENCE), types.index(END_SENTENCE)

    def compile(self) -> None:
        """See `Objective.compile`."""
        self._stream = torch.compile(self._stream)

    def rows(self, tokens: Tokens, batch_size: int, *, pad: bool) -> Rows:
        """See `Objective.rows`."""
        inputs, targets = [], []
        both = (
            (tokens, self._begin, self._end),
            (tokens[::-1], self._end, self._begin),
        )
        for text, read, predicted in both[: len(self.directions)]:
            # Streams begin with a boundary; the reversed one needs its own.
            if text[0] != self._begin:
                text = numpy.concatenate([[self._begin], text])
            else:
                text = numpy.concatenate([text, [self._begin]])
            boundary = text == self._begin
            types = numpy.where(boundary, read, text)
            goals = self._target_ids[numpy.where(boundary, predicted, text)]
            inputs.append(_fold(types[:-1], batch_size, pad, fill=read))
            targets.append(_fold(goals[1:], batch_size, pad, fill=NO_TARGET))
        return Rows(numpy.stack(inputs), numpy.stack(targets))

    def zero_state(self, batch_size: int) -> BiLMState:
        """See `Objective.zero_state`."""
        return self.module.initial_state(batch_size, "zeros")

    def mask_state(self, state: BiLMState, keep: Tensor) -> BiLMState:
        """See `Objective.mask_state`."""
        rows = keep.to(self.device).unsqueeze(1)
        return BiLMState(*([(h * rows, c * rows) for h, c in part] for part in state))

    def step(
        self,
        inputs: NDArray[numpy.int64],
        targets: NDArray[numpy.int64],
        state: BiLMState,
    ) -> StepResult:
        """See `Objective.step`."""
        used, index = numpy.unique(inputs, return_inverse=True)
        words = self._words[torch.from_numpy(used)].long().to(self.device)
        word_index = torch.from_numpy(index.reshape(inputs.shape)).to(self.device)
        outputs, state = self._stream(words, word_index, state)
        losses = self.loss(list(outputs), targets)
        n_targets = int((targets[0] != NO_TARGET).sum())
        return StepResult(losses, n_targets, outputs.new_zeros(()), state)


class AWDLSTMObjective:
    """Predict the next word, with AR and TAR."""

    directions: Tuple[str, ...] = ("forward",)

    def __init__(
        self,
        module: AWDLSTM,
        types: List[str],
        vocabulary: Vocabulary,
        loss: WordLoss,
        *,
        dtype: torch.dtype,
        alpha: float,
        beta: float,
    ) -> None:
        self.module, self.loss, self.dtype = module, loss, dtype
        self._encode = module.encode
        self.alpha, self.beta = alpha, beta
        self.device = module.embedding.weight.device
        self._ids = numpy.asarray(vocabulary.ids(types))

    def compile(self) -> None:
        """See `Objective.compile`."""
        self._encode = torch.compile(self._encode)

    def rows(self, tokens: Tokens, batch_size: int, *, pad: bool) -> Rows:
        """See `Objective.rows`."""
        ids = self._ids[tokens]
        padding = self.module.config.padding_idx
        inputs = _fold(ids[:-1], batch_size, pad, fill=padding)
        targets = _fold(ids[1:], batch_size, pad, fill=NO_TARGET)
        return Rows(inputs[None], targets[None])

    def zero_state(self, batch_size: int) -> Any:
        """See `Objective.zero_state`."""
        return self.module.zero_state(batch_size)

    def mask_state(self, state: Any, keep: Tensor) -> Any:
        """See `Objective.mask_state`."""
        rows = keep.to(self.device).view(1, -1, 1)
        return map_state(state, lambda part: part * rows)

    def step(
        self,
        inputs: NDArray[numpy.int64],
        targets: NDArray[numpy.int64],
        state: Any,
    ) -> StepResult:
        """See `Objective.step`."""
        ids = torch.from_numpy(inputs[0]).to(self.device)
        half = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=half):
            encoded = self._encode(ids, state)
        output = encoded.output.float()
        penalty = activation_regularization(
            output, encoded.raw_outputs[-1], self.alpha, self.beta
        )
        return StepResult(
            self.loss([output], targets),
            int((targets[0] != NO_TARGET).sum()),
            penalty,
            map_state(detach_state(encoded.state), torch.Tensor.float),
        )


def _fold(
    values: NDArray[Any], batch_size: int, pad: bool, *, fill: int
) -> NDArray[numpy.int64]:
    """Cut a stream into rows: the rest is dropped, or the last row filled up."""
    values = numpy.asarray(values, dtype=numpy.int64)
    if pad:
        missing = -len(values) % batch_size
        values = numpy.concatenate([values, numpy.full(missing, fill)])
    n_steps = len(values) // batch_size
    return values[: batch_size * n_steps].reshape(batch_size, n_steps)
