"""AWD-LSTM language model (Merity et al. 2017, arXiv:1708.02182), ULMFiT's encoder.

Initial values, dropout places and the tied decoder are those of the models that
ULMFiT published (Howard & Ruder 2018, arXiv:1801.06146).
"""

from dataclasses import dataclass
from typing import (
    Any,
    Callable,
    Dict,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
)

import torch
from torch import Tensor, nn

from .adaptive_softmax import Clusters
from .dropout import embedding_dropout, locked_dropout
from .heads import Softmax
from .products import Precision, usable_precision
from .qrnn import QRNNLayer
from .weight_drop_lstm import WeightDropLSTM

FORWARD, BACKWARD = "forward", "backward"
LSTM, QRNN = "lstm", "qrnn"

# What each layer carries on, (1, batch, width) each.
AWDLSTMState = List[Tuple[Tensor, ...]]


@dataclass(frozen=True)
class AWDLSTMConfig:
    """Sizes and dropouts of an AWD-LSTM; the defaults are the published ones.

    n_words (int): Size of the vocabulary.
    embedding_dim (int): Width of embeddings, and of the last layer's output.
    hidden_dim (int): Width of the layers between.
    n_layers (int): Number of recurrent layers.
    input_dropout (float): Locked dropout of the embedded input.
    hidden_dropout (float): Locked dropout between layers.
    output_dropout (float): Locked dropout of the last layer's output.
    embedding_dropout (float): Dropout of whole words.
    weight_dropout (float): Dropout of the hidden-to-hidden matrices (DropConnect), or
        of the one matrix of each QRNN layer.
    padding_idx (int): Id of the padding word.
    direction (str): `"forward"`, or `"backward"` for a model that was trained to read
        text from its end; the module itself reads what it is given.
    decoder (bool): Whether there is a softmax, tied to the embedding.
    rnn (str): What the layers are, `"lstm"` or `"qrnn"`.
    softmax_cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin,
        counted in words; none for a full softmax.
    """

    n_words: int
    embedding_dim: int = 400
    hidden_dim: int = 1152
    n_layers: int = 3
    input_dropout: float = 0.25
    hidden_dropout: float = 0.15
    output_dropout: float = 0.1
    embedding_dropout: float = 0.02
    weight_dropout: float = 0.2
    padding_idx: int = 1
    direction: str = FORWARD
    decoder: bool = True
    rnn: str = LSTM
    softmax_cutoffs: Sequence[int] = ()

    def layer_dims(self, layer: int) -> Tuple[int, int]:
        """Return the input and output width of a layer."""
        first, last = layer == 0, layer == self.n_layers - 1
        return (
            self.embedding_dim if first else self.hidden_dim,
            self.embedding_dim if last else self.hidden_dim,
        )


class AWDLSTMOutput(NamedTuple):
    """What the encoder returns.

    embedded (Tensor): Embeddings before input dropout. *Shape:* `(batch, n_steps, embedding_dim)`
    raw_outputs (List[Tensor]): Output of each layer before dropout.
    output (Tensor): Output of the last layer after output dropout.
    state (AWDLSTMState): What each layer carries on, `(1, batch, width)` each: output
        and cell of an LSTM; cell of a QRNN and, of its first layer, the last input.
    """

    embedded: Tensor
    raw_outputs: List[Tensor]
    output: Tensor
    state: AWDLSTMState


RecurrentLayer = Union[WeightDropLSTM, QRNNLayer]


class AWDLSTM(nn.Module):
    """Embedding, recurrent layers with weight dropout, a decoder tied to the embedding.

    The layers are LSTMs, or QRNNs as in MultiFiT (Eisenschlos et al. 2019,
    arXiv:1909.04761).

    config (AWDLSTMConfig): Sizes and dropouts.
    """

    kind = "awd_lstm"

    def __init__(self, config: AWDLSTMConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(
            config.n_words, config.embedding_dim, padding_idx=config.padding_idx
        )
        nn.init.uniform_(self.embedding.weight, -0.1, 0.1)
        self.layers = nn.ModuleList(
            _build_layer(config, number) for number in range(config.n_layers)
        )
        self.decoder_bias: Optional[nn.Parameter] = None
        self.clusters: Optional[Clusters] = None
        if config.decoder:
            self.decoder_bias = nn.Parameter(torch.zeros(config.n_words))
            if config.softmax_cutoffs:
                self.clusters = Clusters(
                    config.embedding_dim, config.n_words, config.softmax_cutoffs
                )

    @property
    def n_outputs(self) -> int:
        """Number of layers of one width that a document's vectors hold."""
        return 2

    @property
    def width(self) -> int:
        """Width of the embedding and of the last layer."""
        return self.config.embedding_dim

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """Parameter name prefixes of the layer groups, bottom first.

        The tied embedding comes last, with the decoder: fine-tuning has new words
        to learn first of all.
        """
        layers = [(f"layers.{i}.",) for i in range(self.config.n_layers)]
        return [*layers, ("embedding.", "decoder_bias", "clusters.")]

    @property
    def softmax(self) -> Softmax:
        """What predicts words from `AWDLSTMOutput.output`."""
        return Softmax(self.embedding.weight, self.decoder_bias, self.clusters)

    def forward(
        self, ids: Tensor, state: Optional[AWDLSTMState] = None
    ) -> Tuple[Tensor, List[Tensor], AWDLSTMState]:
        """Predict the next word at every position.

        ids (Tensor): Word ids. *Shape:* `(batch, n_steps)`
        state (Optional[AWDLSTMState]): State to go on from, zeros when `None`.
        RETURNS (Tuple[Tensor, List[Tensor], AWDLSTMState]): Logits
            `(batch, n_steps, n_words)`, log-probabilities if the softmax is adaptive;
            the output of each layer `(batch, n_steps, width of the layer)`; and the
            new state.
        """
        encoded = self.encode(ids, state)
        logits = self.softmax.logits(encoded.output)
        return logits, encoded.raw_outputs, encoded.state

    def encode(
        self, ids: Tensor, state: Optional[AWDLSTMState] = None
    ) -> AWDLSTMOutput:
        """Run embedding and recurrent layers.

        ids (Tensor): Word ids. *Shape:* `(batch, n_steps)`
        state (Optional[AWDLSTMState]): State to go on from, zeros when `None`.
        RETURNS (AWDLSTMOutput): Layer outputs and the new state.
        """
        config = self.config
        if state is None:
            state = self.zero_state(len(ids))
        embedded = embedding_dropout(
            ids,
            self.embedding.weight,
            config.embedding_dropout,
            self.training,
            config.padding_idx,
        )
        hidden = locked_dropout(embedded, config.input_dropout, self.training)
        raw_outputs, last_states = [], []
        for number, (layer, start) in enumerate(zip(self._rnns, state)):
            raw, last = layer.run(hidden, start, config.weight_dropout)
            raw_outputs.append(raw)
            last_states.append(last)
            is_top = number == config.n_layers - 1
            p = config.output_dropout if is_top else config.hidden_dropout
            hidden = locked_dropout(raw, p, self.training)
        return AWDLSTMOutput(embedded, raw_outputs, hidden, last_states)

    def zero_state(self, batch_size: int) -> AWDLSTMState:
        """Return the state that a text starts from.

        batch_size (int): Number of texts.
        RETURNS (AWDLSTMState): Zeros for what each layer carries on.
        """
        zeros = self.embedding.weight.new_zeros
        return [
            tuple(zeros(1, batch_size, width) for width in layer.state_widths)
            for layer in self._rnns
        ]

    def set_precision(self, precision: Precision) -> Precision:
        """Choose the type of the numbers that the layers multiply in prediction.

        precision (str): `"fp32"`, `"bf16"` or `"int8"`.
        RETURNS (str): What is used: `"fp32"` where the other would save no time.
        """
        usable = usable_precision(precision, self.embedding.weight.device)
        for layer in self._rnns:
            layer.precision = usable
        return usable

    @property
    def _rnns(self) -> List[RecurrentLayer]:
        return cast(List[RecurrentLayer], list(self.layers))


def _build_layer(config: AWDLSTMConfig, number: int) -> RecurrentLayer:
    dims = config.layer_dims(number)
    if config.rnn == LSTM:
        return WeightDropLSTM(*dims)
    if config.rnn == QRNN:
        return QRNNLayer(*dims, window=2 if number == 0 else 1)
    raise ValueError(f"rnn = {config.rnn!r}: the layers are {LSTM!r} or {QRNN!r}.")


def map_state(
    state: AWDLSTMState, function: Callable[[Tensor], Tensor]
) -> AWDLSTMState:
    """Apply a function to every tensor of a state.

    state (AWDLSTMState): The state.
    function (Callable[[Tensor], Tensor]): Takes and returns `(1, batch, width)`.
    RETURNS (AWDLSTMState): The new state.
    """
    return [tuple(function(part) for part in layer) for layer in state]


def detach_state(state: AWDLSTMState) -> AWDLSTMState:
    """Cut a state off from the graph that computed it."""
    return map_state(state, torch.Tensor.detach)


def activation_regularization(
    output: Tensor, raw: Tensor, alpha: float, beta: float
) -> Tensor:
    """AR and TAR (Merity et al. 2017, section 4.6).

    output (Tensor): Last layer's output after dropout. *Shape:* `(batch, n_steps, width)`
    raw (Tensor): The same before dropout.
    alpha (float): Weight of the mean square of `output` (AR).
    beta (float): Weight of the mean square difference of `raw` over time (TAR).
    RETURNS (Tensor): The penalty, a scalar.
    """
    penalty = alpha * output.float().pow(2).mean()
    if raw.shape[1] > 1:
        penalty = penalty + beta * raw.float().diff(dim=1).pow(2).mean()
    return penalty


def read_awd_lstm_config(config: Dict[str, Any]) -> AWDLSTMConfig:
    """Build the configuration of an AWD-LSTM from its plain values."""
    # Weights stored by earlier versions have a full softmax.
    cutoffs = tuple(config.get("softmax_cutoffs", ()))
    return AWDLSTMConfig(**{**config, "softmax_cutoffs": cutoffs})


def build_awd_lstm(config: Dict[str, Any]) -> AWDLSTM:
    """Build an AWD-LSTM from the plain values of its configuration."""
    return AWDLSTM(read_awd_lstm_config(config))
