"""ELMo's bidirectional language model (Peters et al. 2018, arXiv:1802.05365)."""

from dataclasses import dataclass
from typing import Any, Dict, List, Literal, NamedTuple, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .char_cnn import CharacterEncoder
from .heads import SoftmaxHead
from .packing import PackedLayout, unpack
from .projected_lstm import LSTMState, ProjectedLSTM

InitialState = Literal["warm", "zeros"]


@dataclass(frozen=True)
class BiLMConfig:
    """Sizes of a biLM; the defaults are those of the published small English model.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Tuple[int, int]]): `(width, number)` of each convolution.
    n_highway (int): Number of highway layers.
    activation (str): Activation of the convolutions, `"relu"` or `"tanh"`.
    max_chars (int): Characters per word, the two word markers included.
    cell_dim (int): Width of the LSTM cells.
    projection_dim (int): Width P of one direction; an ELMo layer is 2P wide.
    n_layers (int): Number of LSTM layers per direction.
    cell_clip (Optional[float]): Bound of the LSTM cells, `None` for none.
    proj_clip (Optional[float]): Bound of the LSTM outputs, `None` for none.
    residual (bool): Whether layers above the first add their input to their output.
    dropout (float): Dropout of every LSTM layer's input and of the output, in training.
    n_words (int): Words the softmax can predict; 0 for a model without softmax.
    """

    char_dim: int = 16
    filters: Sequence[Tuple[int, int]] = (
        (1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024),
    )  # fmt: skip
    n_highway: int = 1
    activation: str = "relu"
    max_chars: int = 50
    cell_dim: int = 1024
    projection_dim: int = 128
    n_layers: int = 2
    cell_clip: Optional[float] = 3.0
    proj_clip: Optional[float] = 3.0
    residual: bool = True
    dropout: float = 0.1
    n_words: int = 0


class BiLMState(NamedTuple):
    """Last states of both directions, one per layer, rows in packed order."""

    forward: List[LSTMState]
    backward: List[LSTMState]


class BiLM(nn.Module):
    """Character CNN, then LSTMs with projection over the words in both directions.

    config (BiLMConfig): The sizes.
    """

    kind = "bilm"
    warm_hidden: Tensor
    warm_cell: Tensor

    def __init__(self, config: BiLMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.projection_dim
        self.char_encoder = CharacterEncoder(
            char_dim=config.char_dim,
            filters=config.filters,
            n_highway=config.n_highway,
            activation=config.activation,
            output_dim=width,
        )
        self.forward_layers = self._build_layers()
        self.backward_layers = self._build_layers()
        self.head = SoftmaxHead(width, config.n_words) if config.n_words else None
        shape = (2, config.n_layers, 1)
        self.register_buffer("warm_hidden", torch.zeros(*shape, width))
        self.register_buffer("warm_cell", torch.zeros(*shape, config.cell_dim))

    def _build_layers(self) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            ProjectedLSTM(
                config.projection_dim,
                config.cell_dim,
                config.projection_dim,
                cell_clip=config.cell_clip,
                proj_clip=config.proj_clip,
            )
            for _ in range(config.n_layers)
        )

    @property
    def n_outputs(self) -> int:
        """Number of layers in the output, the token layer included."""
        return self.config.n_layers + 1

    @property
    def width(self) -> int:
        """Width of an output layer: both directions side by side."""
        return 2 * self.config.projection_dim

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """Parameter name prefixes of the layer groups, bottom first."""
        layers = [
            (f"forward_layers.{i}.", f"backward_layers.{i}.")
            for i in range(self.config.n_layers)
        ]
        return [("char_encoder.",), *layers, ("head.",)]

    def forward(self, char_ids: Tensor) -> Tensor:
        """Compute all layers for a padded batch, boundary tokens included in it.

        char_ids (Tensor): Character ids, 0 in masked positions.
            *Shape:* `(batch, n_tokens, max_chars)`
        RETURNS (Tensor): The layers, zeros in masked positions.
            *Shape:* `(n_layers + 1, batch, n_tokens, 2 * projection_dim)`
        RAISES (ValueError): If a row has no token at all.
        """
        mask = (char_ids > 0).any(dim=2)
        lengths = mask.sum(dim=1)
        if bool((lengths == 0).any()):
            raise ValueError("Every row of char_ids needs at least one token.")
        words = char_ids[mask]
        layers = self.encode(words, torch.arange(len(words)), lengths.tolist())
        output = layers.new_zeros(len(layers), *mask.shape, self.width)
        output[:, mask] = layers
        return output

    def encode(
        self,
        words: Tensor,
        word_index: Tensor,
        lengths: Sequence[int],
        *,
        initial_state: InitialState = "warm",
    ) -> Tensor:
        """Compute all layers for sequences given as indices into distinct words.

        words (Tensor): Character ids of the distinct words.
            *Shape:* `(n_words, max_chars)`
        word_index (Tensor): Row of `words` for every token of the concatenated
            sequences. *Shape:* `(n_tokens,)`
        lengths (Sequence[int]): Number of tokens of each sequence, at least 1 each.
        initial_state (str): `"warm"`, the stored state, or `"zeros"`.
        RETURNS (Tensor): The layers. *Shape:* `(n_layers + 1, n_tokens, 2 * projection_dim)`
        """
        layout = PackedLayout.from_lengths(lengths).to(words.device)
        tokens = self.char_encoder(words)[word_index]
        state = self.initial_state(len(lengths), initial_state)
        directions = (
            (self.forward_layers, layout.forward_index, state.forward),
            (self.backward_layers, layout.backward_index, state.backward),
        )
        halves = []
        for layers, index, states in directions:
            packed, _ = self._run_direction(
                layers, tokens[index], layout.batch_sizes, states
            )
            halves.append([tokens, *(unpack(layer, index) for layer in packed)])
        return torch.stack([torch.cat(pair, dim=1) for pair in zip(*halves)])

    def initial_state(self, batch_size: int, kind: InitialState) -> BiLMState:
        """Build the state that sequences start from.

        batch_size (int): Number of sequences.
        kind (str): `"warm"` for the stored state, `"zeros"` for zeros.
        RETURNS (BiLMState): For both directions and each layer, output
            `(batch_size, projection_dim)` and cell `(batch_size, cell_dim)`.
        """
        scale = 1.0 if kind == "warm" else 0.0
        hidden = (self.warm_hidden * scale).repeat(1, 1, batch_size, 1)
        cell = (self.warm_cell * scale).repeat(1, 1, batch_size, 1)
        return BiLMState(
            list(zip(hidden[0], cell[0])),
            list(zip(hidden[1], cell[1])),
        )

    @torch.no_grad()
    def store_warm_state(self, words: Tensor) -> None:
        """Store the state after one sentence, from zeros, as the warm initial state.

        words (Tensor): Character ids of the sentence, boundaries included.
            *Shape:* `(n_tokens, max_chars)`
        """
        was_training = self.training
        self.eval()
        tokens, ones = self.char_encoder(words), [1] * len(words)
        state = self.initial_state(1, "zeros")
        last_states = [
            self._run_direction(self.forward_layers, tokens, ones, state.forward)[1],
            self._run_direction(
                self.backward_layers, tokens.flip(0), ones, state.backward
            )[1],
        ]
        for direction, states in enumerate(last_states):
            for layer, (hidden, cell) in enumerate(states):
                self.warm_hidden[direction, layer] = hidden
                self.warm_cell[direction, layer] = cell
        self.train(was_training)

    def stream(
        self,
        words: Tensor,
        word_index: Tensor,
        state: BiLMState,
    ) -> Tuple[Tensor, BiLMState]:
        """Read on in two sets of text streams, one per direction, for training.

        words (Tensor): Character ids of the distinct words.
            *Shape:* `(n_words, max_chars)`
        word_index (Tensor): Rows of `words`: first the forward streams, then the
            backward streams, which hold their text reversed.
            *Shape:* `(2, batch, n_steps)`
        state (BiLMState): Where the streams stand.
        RETURNS (Tuple[Tensor, BiLMState]): Outputs of the top layer after dropout,
            `(2, batch, n_steps, projection_dim)`, and the new state.
        """
        _, batch, n_steps = word_index.shape
        tokens = self.char_encoder(words)
        outputs, states = [], []
        directions = (self.forward_layers, self.backward_layers)
        for layers, index, start in zip(directions, word_index, state):
            # Time-major rows of equal length are a packed batch already.
            layer_outputs, last = self._run_direction(
                layers, tokens[index.t().reshape(-1)], [batch] * n_steps, start
            )
            top = self._dropout(layer_outputs[-1])
            outputs.append(top.view(n_steps, batch, -1).transpose(0, 1))
            states.append([(hidden.detach(), cell.detach()) for hidden, cell in last])
        return torch.stack(outputs), BiLMState(*states)

    def _run_direction(
        self,
        layers: nn.ModuleList,
        inputs: Tensor,
        batch_sizes: List[int],
        states: List[LSTMState],
    ) -> Tuple[List[Tensor], List[LSTMState]]:
        outputs, last_states = [], []
        for number, (layer, state) in enumerate(zip(layers, states)):
            # Dropout lies outside the residual connection, as in bilm-tf.
            inputs = self._dropout(inputs)
            output, last_state = layer(inputs, batch_sizes, state)
            if self.config.residual and number > 0:
                output = output + inputs
            outputs.append(output)
            last_states.append(last_state)
            inputs = output
        return outputs, last_states

    def _dropout(self, inputs: Tensor) -> Tensor:
        return F.dropout(inputs, self.config.dropout, self.training)


def build_bilm(config: Dict[str, Any]) -> BiLM:
    """Build a biLM from the plain values of its configuration."""
    filters = tuple((int(width), int(number)) for width, number in config["filters"])
    return BiLM(BiLMConfig(**{**config, "filters": filters}))
