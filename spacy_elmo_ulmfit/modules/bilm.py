"""ELMo's bidirectional language model (Peters et al. 2018, arXiv:1802.05365)."""

from dataclasses import dataclass, replace
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

from .char_cnn import N_CHARACTERS, PADDING_CHARACTER, CharacterEncoder
from .heads import Softmax, SoftmaxHead
from .packing import PackedLayout, unpack
from .products import Precision, usable_precision
from .projected_lstm import LSTMState, ProjectedLSTM
from .token_encoder import TokenEncoder

InitialState = Literal["warm", "zeros"]


@dataclass(frozen=True)
class BiLMConfig:
    """Sizes of a biLM; the defaults are those of the published small English model.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Tuple[int, int]]): `(width, number)` of each convolution;
        none for a model that reads no characters.
    n_highway (int): Number of highway layers.
    activation (str): Activation of the convolutions, `"relu"` or `"tanh"`.
    max_chars (int): Characters per word, the two word markers included.
    n_characters (int): Number of characters, the masking one included.
    padding_character (int): The character that fills a word up.
    n_input_words (int): Words that have an input vector of their own; 0 for a model
        that reads characters alone.
    word_dim (int): Width of those vectors.
    project_tokens (Optional[bool]): Whether a linear layer follows the token
        encoder; `None` for only where its width is not `projection_dim`.
    cell_dim (int): Width of the LSTM cells.
    projection_dim (int): Width P of one direction; an ELMo layer is 2P wide.
    project_cells (Optional[bool]): Whether the LSTMs project their output; `None`
        for only where `cell_dim` is not `projection_dim`.
    n_layers (int): Number of LSTM layers per direction.
    cell_clip (Optional[float]): Bound of the LSTM cells, `None` for none.
    proj_clip (Optional[float]): Bound of the LSTM outputs, `None` for none.
    forget_bias (float): Added to the stored bias of the forget gates.
    residual (bool): Whether layers above the first add their input to their output.
    bidirectional (bool): Whether there is a backward model; without it a layer is
        P wide.
    dropout (float): Dropout of every LSTM layer's input and of the output, in training.
    n_words (int): Words the softmax can predict; 0 for a model without softmax.
    tie_softmax (bool): Whether the softmax has the weights of the input words.
    softmax_cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin,
        counted in words; none for a full softmax.
    target_dim (int): Width of the word vectors that outputs are mapped to, in a model that
        predicts those instead of words; 0 for none.
    aligned (bool): Whether there is a matrix that maps the vectors of this language
        into those of another.
    """

    char_dim: int = 16
    filters: Sequence[Tuple[int, int]] = (
        (1, 32), (2, 32), (3, 64), (4, 128), (5, 256), (6, 512), (7, 1024),
    )  # fmt: skip
    n_highway: int = 1
    activation: str = "relu"
    max_chars: int = 50
    n_characters: int = N_CHARACTERS
    padding_character: int = PADDING_CHARACTER
    n_input_words: int = 0
    word_dim: int = 0
    project_tokens: Optional[bool] = None
    cell_dim: int = 1024
    projection_dim: int = 128
    project_cells: Optional[bool] = None
    n_layers: int = 2
    cell_clip: Optional[float] = 3.0
    proj_clip: Optional[float] = 3.0
    forget_bias: float = 0.0
    residual: bool = True
    bidirectional: bool = True
    dropout: float = 0.1
    n_words: int = 0
    tie_softmax: bool = False
    softmax_cutoffs: Sequence[int] = ()
    target_dim: int = 0
    aligned: bool = False


class BiLMState(NamedTuple):
    """States of both directions, one per layer, a row per sequence.

    Those of the backward direction are an empty list in a forward model.
    """

    forward: List[LSTMState]
    backward: List[LSTMState]


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
        self.forward_layers = self._build_layers()
        self.backward_layers = (
            self._build_layers() if config.bidirectional else nn.ModuleList()
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

    def _build_layers(self) -> nn.ModuleList:
        config = self.config
        return nn.ModuleList(
            ProjectedLSTM(
                config.projection_dim,
                config.cell_dim,
                config.projection_dim,
                cell_clip=config.cell_clip,
                proj_clip=config.proj_clip,
                forget_bias=config.forget_bias,
                project=config.project_cells,
            )
            for _ in range(config.n_layers)
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
        vectors = self.token_encoder(words)[word_index]
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
        for (layers, states), index in zip(self._directions(state), layout.indices):
            packed, last = self._run_direction(
                layers,
                vectors[index],
                layout.batch_sizes,
                _select_rows(states, layout.order),
                window_length,
            )
            halves.append([vectors, *(unpack(layer, index) for layer in packed)])
            last_states.append(_select_rows(last, rows))
        layers = torch.stack([torch.cat(pair, dim=1) for pair in zip(*halves)])
        return EncodedSequences(layers, _as_state(last_states))

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
        return _as_state([list(zip(*pair)) for pair in zip(hidden, cell)])

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
        for (layers, states), index in zip(self._directions(state), word_index):
            # Time-major rows of equal length are a packed batch already.
            layer_outputs, last = self._run_direction(
                layers, tokens[index.t().reshape(-1)], [batch] * n_steps, states
            )
            top = self._dropout(layer_outputs[-1])
            outputs.append(top.view(n_steps, batch, -1).transpose(0, 1))
            last_states.append(_detach(last))
        return torch.stack(outputs), _as_state(last_states)

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
        outputs, last = self._run_direction(
            self.forward_layers, packed, [batch] * n_steps, states
        )
        return outputs[-1].view(n_steps, batch, -1).transpose(0, 1), last

    def select_rows(self, states: List[LSTMState], rows: Tensor) -> List[LSTMState]:
        """Take the states of some texts.

        states (List[LSTMState]): States of one direction.
        rows (Tensor): Which texts. *Shape:* `(n_selected,)`
        RETURNS (List[LSTMState]): Their states.
        """
        return _select_rows(states, rows)

    def _directions(
        self, state: BiLMState
    ) -> Iterator[Tuple[nn.ModuleList, List[LSTMState]]]:
        yield self.forward_layers, state.forward
        if self.config.bidirectional:
            yield self.backward_layers, state.backward

    def _run_direction(
        self,
        layers: nn.ModuleList,
        inputs: Tensor,
        batch_sizes: List[int],
        states: List[LSTMState],
        window_length: int = 0,
    ) -> Tuple[List[Tensor], List[LSTMState]]:
        if not window_length or len(batch_sizes) <= window_length:
            return self._run_window(layers, inputs, batch_sizes, states)
        windows, start = [], 0
        for step in range(0, len(batch_sizes), window_length):
            sizes = batch_sizes[step : step + window_length]
            end = start + sum(sizes)
            outputs, last = self._run_window(layers, inputs[start:end], sizes, states)
            windows.append(outputs)
            states, start = _detach(last), end
        return [torch.cat(parts) for parts in zip(*windows)], states

    def _run_window(
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


def _as_state(directions: List[List[LSTMState]]) -> BiLMState:
    return BiLMState(directions[0], directions[1] if len(directions) > 1 else [])


def _select_rows(states: List[LSTMState], rows: Tensor) -> List[LSTMState]:
    return [(hidden[rows], cell[rows]) for hidden, cell in states]


def _detach(states: List[LSTMState]) -> List[LSTMState]:
    return [(hidden.detach(), cell.detach()) for hidden, cell in states]


def build_bilm(config: Dict[str, Any]) -> BiLM:
    """Build a biLM from the plain values of its configuration."""
    filters = tuple((int(width), int(number)) for width, number in config["filters"])
    # Weights stored by earlier versions have a full softmax.
    cutoffs = tuple(config.get("softmax_cutoffs", ()))
    return BiLM(
        BiLMConfig(**{**config, "filters": filters, "softmax_cutoffs": cutoffs})
    )
