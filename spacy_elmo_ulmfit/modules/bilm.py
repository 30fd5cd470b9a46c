"""ELMo's bidirectional language model (Peters et al. 2018, arXiv:1802.05365)."""

from dataclasses import replace
from typing import (
    Any,
    Dict,
    Iterator,
    List,
    Literal,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
)

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .bilm_config import BiLMConfig, read_bilm_config
from .bilm_state import BiLMState
from .char_cnn import CharacterEncoder
from .heads import Softmax, SoftmaxHead
from .lookup import look_up
from .packing import PackedLayout, unpack
from .products import Precision, usable_precision
from .projected_lstm import ProjectedLSTM
from .projected_stack import ProjectedLSTMStack
from .recurrence import LSTMState
from .token_encoder import TokenEncoder

InitialState = Literal["warm", "zeros"]


class EncodedSequences(NamedTuple):
    """What a biLM computes of a batch of sequences.

    layers (Tensor): All layers of the concatenated sequences.
        *Shape:* `(n_layers + 1, n_tokens, width)`
    state (BiLMState): Each sequence's last state.
    """

    layers: Tensor
    state: BiLMState


class BiLM(nn.Module):
    """Token encoder, then LSTMs with projection over the words in both directions.

    config (BiLMConfig): The sizes.
    """

    kind = "bilm"
    warm_hidden: Tensor
    warm_cell: Tensor
    alignment: Optional[Tensor]

    def __init__(self, config: BiLMConfig) -> None:
        super().__init__()
        self.config = config
        width = config.projection_dim
        self.token_encoder = _build_token_encoder(config)
        self.forward_layers = _build_stack(config, config.n_layers)
        self.backward_layers = _build_stack(
            config, config.n_layers if config.bidirectional else 0
        )
        self.head = (
            SoftmaxHead(
                width,
                config.n_words,
                tied=config.tie_softmax,
                cutoffs=config.softmax_cutoffs,
            )
            if config.n_words
            else None
        )
        self.vector_head = (
            nn.Linear(width, config.target_dim) if config.target_dim else None
        )
        shape = (self.n_directions, config.n_layers, 1)
        self.register_buffer("warm_hidden", torch.zeros(*shape, width))
        self.register_buffer("warm_cell", torch.zeros(*shape, config.cell_dim))
        self.register_buffer(
            "alignment", torch.eye(self.width) if config.aligned else None
        )

    @property
    def n_directions(self) -> int:
        """2, or 1 for a forward model."""
        return 2 if self.config.bidirectional else 1

    @property
    def n_outputs(self) -> int:
        """Number of layers in the output, the token layer included."""
        return self.config.n_layers + 1

    @property
    def width(self) -> int:
        """Width of an output layer: both directions side by side."""
        return self.n_directions * self.config.projection_dim

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """Parameter name prefixes of the layer groups, bottom first."""
        layers = [
            (f"forward_layers.{i}.", f"backward_layers.{i}.")
            for i in range(self.config.n_layers)
        ]
        return [("token_encoder.",), *layers, ("head.", "vector_head.")]

    @property
    def softmax(self) -> Optional[Softmax]:
        """What predicts words from outputs of the top layer; `None` without a head."""
        if self.head is None:
            return None
        weight: Optional[Tensor] = self.head.weight
        if weight is None:
            words = self.token_encoder.words
            if words is None:
                raise ValueError("tie_softmax = true needs a model that reads words.")
            weight = words.weight[1:]
        return Softmax(weight, self.head.bias, self.head.clusters)

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the softmax's logits for outputs of the top layer of one direction.

        Those of an adaptive softmax are log-probabilities.

        hidden (Tensor): *Shape:* `(..., projection_dim)`
        RETURNS (Tensor): *Shape:* `(..., n_words)`
        RAISES (ValueError): If the biLM has no softmax.
        """
        if self.softmax is None:
            raise ValueError("This biLM has no softmax, so it predicts no words.")
        return self.softmax.logits(hidden)

    def forward(self, ids: Tensor) -> Tensor:
        """Compute all layers for a padded batch, boundary tokens included in it.

        ids (Tensor): What the token encoder reads of each word, such as its
            characters; 0 in masked positions.
            *Shape:* `(batch, n_tokens, max_chars)`
        RETURNS (Tensor): The layers, zeros in masked positions.
            *Shape:* `(n_layers + 1, batch, n_tokens, width)`
        RAISES (ValueError): If a row has no token at all.
        """
        mask = (ids > 0).any(dim=2)
        lengths = mask.sum(dim=1)
        if bool((lengths == 0).any()):
            raise ValueError("Every row of ids needs at least one token.")
        words = ids[mask]
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
        window_length: int = 0,
    ) -> Tensor:
        """Compute all layers for sequences given as indices into distinct words.

        words (Tensor): What the token encoder reads of the distinct words.
            *Shape:* `(n_words, n_columns)`
        word_index (Tensor): Row of `words` for every token of the concatenated
            sequences. *Shape:* `(n_tokens,)`
        lengths (Sequence[int]): Number of tokens of each sequence, at least 1 each.
        initial_state (str): `"warm"`, the stored state, or `"zeros"`.
        window_length (int): See `encode_vectors`.
        RETURNS (Tensor): The layers. *Shape:* `(n_layers + 1, n_tokens, width)`
        """
        vectors = look_up(self.token_encoder(words), word_index)
        state = self.initial_state(len(lengths), initial_state)
        return self.encode_vectors(
            vectors, lengths, state, window_length=window_length
        ).layers

    def encode_vectors(
        self,
        vectors: Tensor,
        lengths: Sequence[int],
        state: BiLMState,
        *,
        window_length: int = 0,
    ) -> EncodedSequences:
        """Compute all layers for sequences of word vectors, from given states.

        vectors (Tensor): Vectors of the token encoder, of the concatenated
            sequences. *Shape:* `(n_tokens, projection_dim)`
        lengths (Sequence[int]): Number of tokens of each sequence, at least 1 each.
        state (BiLMState): What the sequences start from, each direction at its own
            end, rows in the order of the sequences.
        window_length (int): Tokens of a sequence computed at a time, 0 for all.
            Each direction carries its state from window to window, so the layers are
            the same; gradients do not reach beyond a window.
        RETURNS (EncodedSequences): The layers and the last states.
        """
        layout = PackedLayout.from_lengths(lengths).to(vectors.device)
        rows = torch.argsort(layout.order)
        halves, last_states = [], []
        sorted_state = self._directions(state.select(layout.order))
        for (stack, states), index in zip(sorted_state, layout.indices):
            packed, last = stack(
                vectors[index],
                layout.batch_sizes,
                states,
                dropout=self.config.dropout,
                window_length=window_length,
            )
            halves.append([vectors, *(unpack(layer, index) for layer in packed)])
            last_states.append(last)
        layers = torch.stack([torch.cat(pair, dim=1) for pair in zip(*halves)])
        return EncodedSequences(layers, BiLMState.of(last_states).select(rows))

    def initial_state(self, batch_size: int, kind: InitialState) -> BiLMState:
        """Build the state that sequences start from.

        batch_size (int): Number of sequences.
        kind (str): `"warm"` for the stored state, `"zeros"` for zeros.
        RETURNS (BiLMState): For each direction and layer, output
            `(batch_size, projection_dim)` and cell `(batch_size, cell_dim)`.
        """
        scale = 1.0 if kind == "warm" else 0.0
        hidden = (self.warm_hidden * scale).repeat(1, 1, batch_size, 1)
        cell = (self.warm_cell * scale).repeat(1, 1, batch_size, 1)
        return BiLMState.of([list(zip(*pair)) for pair in zip(hidden, cell)])

    @torch.no_grad()
    def store_warm_state(self, sentences: Sequence[Tensor]) -> None:
        """Store the mean state after neutral sentences as the warm initial state.

        The sentences are read one after the other, from zeros. A biLM that was
        trained on a stream of text always starts a sentence after another one; the
        mean over several makes the start depend less on which.

        sentences (Sequence[Tensor]): What the token encoder reads of each sentence's
            words, boundaries included. *Shape:* `(n_tokens, n_columns)` each
        """
        was_training = self.training
        self.eval()
        state, seen = self.initial_state(1, "zeros"), []
        for words in sentences:
            vectors = self.token_encoder(words)
            state = self.encode_vectors(vectors, [len(words)], state).state
            seen.append(state)
        # The first sentence alone came after nothing.
        seen = seen[1:] or seen
        self.warm_hidden.zero_()
        self.warm_cell.zero_()
        for state in seen:
            for direction, (_, states) in enumerate(self._directions(state)):
                for layer, (hidden, cell) in enumerate(states):
                    self.warm_hidden[direction, layer] += hidden / len(seen)
                    self.warm_cell[direction, layer] += cell / len(seen)
        self.train(was_training)

    def set_precision(self, precision: Precision) -> Precision:
        """Choose the type of the numbers that the LSTMs multiply in prediction.

        precision (str): `"fp32"`, `"bf16"` or `"int8"`.
        RETURNS (str): What is used: `"fp32"` where the other would save no time.
        """
        usable = usable_precision(precision, self.warm_hidden.device)
        for layer in (*self.forward_layers, *self.backward_layers):
            layer.precision = usable
        return usable

    def set_alignment(self, matrix: Tensor) -> None:
        """Take a matrix that maps this language's vectors into another's.

        matrix (Tensor): Multiplied with vectors as `matrix @ vector`, after the mix.
            *Shape:* `(width, width)`
        RAISES (ValueError): If it has another shape.
        """
        if tuple(matrix.shape) != (self.width, self.width):
            raise ValueError(
                f"An alignment matrix for vectors of width {self.width} must have the "
                f"shape ({self.width}, {self.width}), not {tuple(matrix.shape)}."
            )
        self.alignment = matrix.detach().to(self.warm_hidden)
        self.config = replace(self.config, aligned=True)

    def stream(
        self,
        words: Tensor,
        word_index: Tensor,
        state: BiLMState,
    ) -> Tuple[Tensor, BiLMState]:
        """Read on in sets of text streams, one per direction, for training.

        words (Tensor): What the token encoder reads of the distinct words.
            *Shape:* `(n_words, n_columns)`
        word_index (Tensor): Rows of `words`: first the forward streams, then the
            backward streams, which hold their text reversed.
            *Shape:* `(n_directions, batch, n_steps)`
        state (BiLMState): Where the streams stand.
        RETURNS (Tuple[Tensor, BiLMState]): Outputs of the top layer after dropout,
            `(n_directions, batch, n_steps, projection_dim)`, and the new state.
        """
        _, batch, n_steps = word_index.shape
        tokens = self.token_encoder(words)
        outputs, last_states = [], []
        for (stack, states), index in zip(self._directions(state), word_index):
            # Time-major rows of equal length are a packed batch already.
            dropout = self.config.dropout
            layer_outputs, last = stack(
                look_up(tokens, index.t().reshape(-1)),
                [batch] * n_steps,
                states,
                dropout=dropout,
            )
            top = F.dropout(layer_outputs[-1], dropout, self.training)
            outputs.append(top.view(n_steps, batch, -1).transpose(0, 1))
            last_states.append(last)
        return torch.stack(outputs), BiLMState.of(last_states).detach()

    def read_forward(
        self, vectors: Tensor, states: List[LSTMState]
    ) -> Tuple[Tensor, List[LSTMState]]:
        """Read on in texts with the forward direction alone.

        vectors (Tensor): Vectors of the token encoder.
            *Shape:* `(batch, n_steps, projection_dim)`
        states (List[LSTMState]): Where the texts stand, as `BiLMState.forward`.
        RETURNS (Tuple[Tensor, List[LSTMState]]): Outputs of the top layer,
            `(batch, n_steps, projection_dim)`, and the new states.
        """
        batch, n_steps, width = vectors.shape
        # Time-major rows of equal length are a packed batch already.
        packed = vectors.transpose(0, 1).reshape(-1, width)
        outputs, last = self.forward_layers(
            packed, [batch] * n_steps, states, dropout=self.config.dropout
        )
        return outputs[-1].view(n_steps, batch, -1).transpose(0, 1), last

    def select_rows(self, states: List[LSTMState], rows: Tensor) -> List[LSTMState]:
        """Take the states of some texts.

        states (List[LSTMState]): States of one direction.
        rows (Tensor): Which texts. *Shape:* `(n_selected,)`
        RETURNS (List[LSTMState]): Their states.
        """
        return BiLMState.of([states]).select(rows).forward

    def _directions(
        self, state: BiLMState
    ) -> Iterator[Tuple[ProjectedLSTMStack, List[LSTMState]]]:
        yield self.forward_layers, state.forward
        if self.config.bidirectional:
            yield self.backward_layers, state.backward


def _build_token_encoder(config: BiLMConfig) -> TokenEncoder:
    characters = None
    if config.filters:
        characters = CharacterEncoder(
            char_dim=config.char_dim,
            filters=config.filters,
            n_highway=config.n_highway,
            activation=config.activation,
            n_characters=config.n_characters,
            padding_character=config.padding_character,
        )
    return TokenEncoder(
        config.projection_dim,
        characters=characters,
        n_words=config.n_input_words,
        word_dim=config.word_dim,
        project=config.project_tokens,
    )


def _build_stack(config: BiLMConfig, n_layers: int) -> ProjectedLSTMStack:
    layers = (
        ProjectedLSTM(
            config.projection_dim,
            config.cell_dim,
            config.projection_dim,
            cell_clip=config.cell_clip,
            proj_clip=config.proj_clip,
            forget_bias=config.forget_bias,
            project=config.project_cells,
        )
        for _ in range(n_layers)
    )
    return ProjectedLSTMStack(layers, residual=config.residual)


def build_bilm(config: Dict[str, Any]) -> BiLM:
    """Build a biLM from the plain values of its configuration."""
    return BiLM(read_bilm_config(config))
