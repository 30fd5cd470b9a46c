"""ELMo's forward pass in NumPy: slow, plain, and without any code of the package.

Written from the published formulas (Peters et al. 2018, arXiv:1802.05365; the files of
bilm-tf, AllenNLP and ELMoForManyLangs), one token at a time, in float64. The tests
hold the importers and the modules to it.
"""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import h5py
import numpy
import torch
from numpy.typing import NDArray

Array = NDArray[numpy.float64]
# Output and cell of one layer; the states of the layers of one direction; of both.
LSTMState = Tuple[Array, Array]
DirectionState = List[LSTMState]
State = Tuple[DirectionState, DirectionState]

# Characters beyond the 256 bytes, numbered as the rows of the published arrays.
BEGIN_SENTENCE, END_SENTENCE, BEGIN_WORD, END_WORD, PADDING = 256, 257, 258, 259, 260
# What ELMoForManyLangs reads with where no config file says it.
MANY_LANGS_DEFAULTS = {"activation": "relu", "max_chars": 50, "clip": 3.0}


def sigmoid(x: Array) -> Array:
    return 1.0 / (1.0 + numpy.exp(-x))


def relu(x: Array) -> Array:
    return numpy.maximum(x, 0.0)


ACTIVATIONS: Dict[str, Callable[[Array], Array]] = {"relu": relu, "tanh": numpy.tanh}


def clip(x: Array, bound: Optional[float]) -> Array:
    """Bound the values of an array; neither `None` nor 0 is a bound."""
    return numpy.clip(x, -bound, bound) if bound else x


def byte_characters(word: str, max_chars: int) -> List[int]:
    """Spell a word as bilm-tf and AllenNLP do: by its UTF-8 bytes."""
    if word == "<S>":
        middle = [BEGIN_SENTENCE]
    elif word == "</S>":
        middle = [END_SENTENCE]
    else:
        middle = list(word.encode("utf-8", "ignore"))[: max_chars - 2]
    spelling = [BEGIN_WORD, *middle, END_WORD]
    return spelling + [PADDING] * (max_chars - len(spelling))


def dictionary_characters(
    word: str, max_chars: int, ids: Mapping[str, int]
) -> List[int]:
    """Spell a word as ELMoForManyLangs does: by the ids of its code points.

    The published models begin a word with the id of "<eow>" and end it with that of
    "<bow>".
    """
    if word in ("<bos>", "<eos>"):
        middle = [ids[word]]
    else:
        middle = [ids.get(char, ids["<oov>"]) for char in word[: max_chars - 2]]
    spelling = [ids["<eow>"], *middle, ids["<bow>"]]
    return spelling + [ids["<pad>"]] * (max_chars - len(spelling))


@dataclass
class Highway:
    """`y = g * relu(x W + b) + (1 - g) * x` with the gate `g = sigmoid(x V + a)`."""

    weight: Array
    bias: Array
    gate_weight: Array
    gate_bias: Array

    def __call__(self, x: Array) -> Array:
        gate = sigmoid(x @ self.gate_weight + self.gate_bias)
        return gate * relu(x @ self.weight + self.bias) + (1.0 - gate) * x


@dataclass
class CharacterCNN:
    """Spelling of a word -> one vector: convolutions, maximum, highways.

    embedding (Array): One row per character. *Shape:* `(n_characters, char_dim)`
    filters (List[Tuple[Array, Array]]): Weight `(width, char_dim, n)` and bias `(n,)`.
    highways (List[Highway]): On the concatenated filters, `(sum of n,)`.
    activation (str): `"relu"` or `"tanh"`, of the convolutions.
    """

    embedding: Array
    filters: List[Tuple[Array, Array]]
    highways: List[Highway]
    activation: str

    def __call__(self, spelling: Sequence[int]) -> Array:
        characters = self.embedding[list(spelling)]
        parts = [
            self._convolve(characters, weight, bias) for weight, bias in self.filters
        ]
        vector = numpy.concatenate(parts)
        for highway in self.highways:
            vector = highway(vector)
        return vector

    def _convolve(self, characters: Array, weight: Array, bias: Array) -> Array:
        width = len(weight)
        # Every position where the filter fits counts, the padding's too.
        positions = range(len(characters) - width + 1)
        values = [
            numpy.tensordot(characters[start : start + width], weight, axes=2) + bias
            for start in positions
        ]
        return ACTIVATIONS[self.activation](numpy.max(values, axis=0))


@dataclass
class LSTM:
    """An LSTM whose output is a projection of its cell.

    weights (Dict[str, Array]): For each gate (`"input"`, `"candidate"`, `"forget"`,
        `"output"`) the rows of the input, then those of the previous output.
        *Shape:* `(n_in + n_out, n_cell)`
    biases (Dict[str, Array]): `(n_cell,)` for each, the forget gate's 1 included.
    projection (Optional[Array]): `(n_cell, n_out)`; `None` for a plain LSTM.
    cell_clip (Optional[float]): Bound of the cell.
    output_clip (Optional[float]): Bound of the projected output.
    """

    weights: Dict[str, Array]
    biases: Dict[str, Array]
    projection: Optional[Array]
    cell_clip: Optional[float]
    output_clip: Optional[float]

    def zeros(self) -> LSTMState:
        n_cell = len(self.biases["input"])
        n_out = n_cell if self.projection is None else self.projection.shape[1]
        return numpy.zeros(n_out), numpy.zeros(n_cell)

    def step(self, x: Array, state: LSTMState) -> LSTMState:
        output, cell = state
        both = numpy.concatenate([x, output])
        gates = {name: both @ self.weights[name] + b for name, b in self.biases.items()}
        cell = sigmoid(gates["forget"]) * cell
        cell = cell + sigmoid(gates["input"]) * numpy.tanh(gates["candidate"])
        cell = clip(cell, self.cell_clip)
        output = sigmoid(gates["output"]) * numpy.tanh(cell)
        if self.projection is not None:
            output = clip(output @ self.projection, self.output_clip)
        return output, cell

    def read(self, inputs: Array, state: LSTMState) -> Tuple[Array, LSTMState]:
        outputs = []
        for x in inputs:
            state = self.step(x, state)
            outputs.append(state[0])
        return numpy.stack(outputs), state


@dataclass
class ReferenceBiLM:
    """A biLM that reads one sentence at a time.

    token_vector (Callable[[str], Array]): Vector of a word, `(width,)`.
    forward_layers, backward_layers (List[LSTM]): Bottom first.
    residual (bool): Whether layers above the first add their input to their output.
    begin, end (str): The boundary words around every sentence.
    """

    token_vector: Callable[[str], Array]
    forward_layers: List[LSTM]
    backward_layers: List[LSTM]
    residual: bool
    begin: str = "<S>"
    end: str = "</S>"
    _known: Dict[str, Array] = field(default_factory=dict)

    def token(self, word: str) -> Array:
        """Vector of a word before any context; the same every time, so kept."""
        if word not in self._known:
            self._known[word] = self.token_vector(word)
        return self._known[word]

    def zeros(self) -> State:
        return (
            [layer.zeros() for layer in self.forward_layers],
            [layer.zeros() for layer in self.backward_layers],
        )

    def read(
        self, words: Sequence[str], state: Optional[State] = None
    ) -> Tuple[Array, State]:
        """Read a sentence.

        words (Sequence[str]): The words, without boundaries.
        state (Optional[State]): What both directions start from; zeros by default.
        RETURNS (Tuple[Array, State]): All layers, boundaries included,
            `(n_layers + 1, n_words + 2, 2 * width)`, and the last states.
        """
        tokens = numpy.stack([self.token(w) for w in (self.begin, *words, self.end)])
        start = state if state is not None else self.zeros()
        forward, after = self._run(self.forward_layers, tokens, start[0])
        backward, before = self._run(self.backward_layers, tokens[::-1], start[1])
        layers = [
            numpy.concatenate([left, right[::-1]], axis=1)
            for left, right in zip([tokens, *forward], [tokens[::-1], *backward])
        ]
        return numpy.stack(layers), (after, before)

    def _run(
        self, layers: List[LSTM], inputs: Array, states: DirectionState
    ) -> Tuple[List[Array], DirectionState]:
        outputs, last_states = [], []
        for number, (layer, state) in enumerate(zip(layers, states)):
            output, last = layer.read(inputs, state)
            if self.residual and number > 0:
                output = output + inputs
            outputs.append(output)
            last_states.append(last)
            inputs = output
        return outputs, last_states

    def layers(self, words: Sequence[str]) -> Array:
        """All layers of a sentence, read from zeros, without the boundaries."""
        return self.read(words)[0][:, 1:-1]

    def carried(self, batches: Sequence[Sequence[Sequence[str]]]) -> List[List[Array]]:
        """All layers of batches of sentences, as the old tools compute them.

        Row k of a batch starts from the last state of row k of the batch before; a
        smaller batch leaves the states of the other rows alone, rows never seen
        before start from zeros.
        """
        states: List[State] = []
        results = []
        for batch in batches:
            states += [self.zeros() for _ in batch[len(states) :]]
            rows = []
            for row, words in enumerate(batch):
                layers, states[row] = self.read(words, states[row])
                rows.append(layers[:, 1:-1])
            results.append(rows)
        return results


def read_bilm_tf(
    options_path: Path, weights_path: Path, vocab_path: Optional[Path] = None
) -> ReferenceBiLM:
    """Read options.json and the HDF5 weights of bilm-tf or AllenNLP.

    vocab_path (Optional[Path]): The words of `embedding`, for a word-input model.
    """
    options = json.loads(options_path.read_text("utf-8"))
    with h5py.File(weights_path, "r") as file:
        arrays = _datasets(file)
    if "embedding" in arrays:
        assert vocab_path is not None
        token_vector = word_lookup(read_vocab(vocab_path), arrays["embedding"])
    else:
        token_vector = _bilm_tf_characters(options["char_cnn"], arrays)
    settings = options["lstm"]
    directions = [
        [
            _bilm_tf_lstm(settings, arrays, number, layer)
            for layer in range(settings.get("n_layers", 1))
        ]
        for number in (0, 1)
    ]
    return ReferenceBiLM(
        token_vector, *directions, residual=settings["use_skip_connections"]
    )


def word_lookup(words: Sequence[str], vectors: Array) -> Callable[[str], Array]:
    """Vectors of a fixed vocabulary; other words get that of `<UNK>`."""
    ids = {word: i for i, word in enumerate(words)}
    return lambda word: vectors[ids.get(word, ids["<UNK>"])]


def read_vocab(path: Path) -> List[str]:
    lines = path.read_text("utf-8").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _datasets(file: h5py.File) -> Dict[str, Array]:
    arrays = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[...].astype(numpy.float64)

    file.visititems(visit)
    return arrays


def _bilm_tf_characters(
    settings: Dict[str, Any], arrays: Dict[str, Array]
) -> Callable[[str], Array]:
    cnn = CharacterCNN(
        embedding=arrays["char_embed"],
        filters=[
            (arrays[f"CNN/W_cnn_{i}"][0], arrays[f"CNN/b_cnn_{i}"])
            for i in range(len(settings["filters"]))
        ],
        # What the files call "carry" is the gate of the transformed part.
        highways=[
            Highway(
                arrays[f"CNN_high_{k}/W_transform"],
                arrays[f"CNN_high_{k}/b_transform"],
                arrays[f"CNN_high_{k}/W_carry"],
                arrays[f"CNN_high_{k}/b_carry"],
            )
            for k in range(settings.get("n_highway") or 0)
        ],
        activation=settings["activation"],
    )
    max_chars = settings["max_characters_per_token"]

    def token_vector(word: str) -> Array:
        vector = cnn(byte_characters(word, max_chars))
        if "CNN_proj/W_proj" in arrays:
            vector = vector @ arrays["CNN_proj/W_proj"] + arrays["CNN_proj/b_proj"]
        return vector

    return token_vector


def _bilm_tf_lstm(
    settings: Dict[str, Any], arrays: Dict[str, Array], direction: int, layer: int
) -> LSTM:
    folder = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
    if f"{folder}/W_0" not in arrays:
        folder = f"RNN_{direction}/RNN/LSTMCell"
    order = ("input", "candidate", "forget", "output")
    weights = numpy.split(arrays[f"{folder}/W_0"], 4, axis=1)
    biases = dict(zip(order, numpy.split(arrays[f"{folder}/B"], 4)))
    # TensorFlow's cell adds its forget bias when it runs.
    biases["forget"] = biases["forget"] + 1.0
    return LSTM(
        dict(zip(order, weights)),
        biases,
        arrays.get(f"{folder}/W_P_0"),
        settings["cell_clip"],
        settings["proj_clip"],
    )


def read_allennlp(
    options_path: Path,
    state_path: Path,
    prefix: str = "text_field_embedder.token_embedder_elmo._elmo._elmo_lstm.",
) -> ReferenceBiLM:
    """Read the biLM inside the state dict of an AllenNLP model.

    prefix (str): What comes before `_token_embedder.` and `_elmo_lstm.`.
    """
    options = json.loads(options_path.read_text("utf-8"))
    arrays = _load_state(state_path, prefix)
    settings = options["char_cnn"]
    folder = "_token_embedder"
    cnn = CharacterCNN(
        # The first row is that of masked positions.
        embedding=arrays[f"{folder}._char_embedding_weights"][1:],
        filters=[
            _torch_filter(arrays, f"{folder}.char_conv_{i}")
            for i in range(len(settings["filters"]))
        ],
        # AllenNLP computes g * x + (1 - g) * relu(..): its gate is the opposite one.
        highways=[
            _torch_highway(arrays, f"{folder}._highways._layers.{k}")
            for k in range(settings.get("n_highway") or 0)
        ],
        activation=settings["activation"],
    )
    weight = arrays[f"{folder}._projection.weight"]
    bias = arrays[f"{folder}._projection.bias"]
    max_chars = settings["max_characters_per_token"]

    def token_vector(word: str) -> Array:
        return weight @ cnn(byte_characters(word, max_chars)) + bias

    lstm = options["lstm"]
    clips = lstm["cell_clip"], lstm["proj_clip"]
    return ReferenceBiLM(
        token_vector,
        *(
            [
                _torch_lstm(arrays, f"_elmo_lstm.{name}_layer_{i}", *clips)
                for i in range(lstm.get("n_layers", 1))
            ]
            for name in ("forward", "backward")
        ),
        residual=True,
    )


def read_many_langs(folder: Path, config_path: Optional[Path] = None) -> ReferenceBiLM:
    """Read a model folder of ELMoForManyLangs.

    config_path (Optional[Path]): The config of the network; without it the sizes
        are those of the arrays, and the rest is as in the config of that tool.
    """
    arrays = _load_state(folder / "token_embedder.pkl")
    settings = dict(MANY_LANGS_DEFAULTS)
    cell_clip = proj_clip = settings["clip"]
    if config_path is not None:
        config = json.loads(config_path.read_text("utf-8"))
        embedder, encoder = config["token_embedder"], config["encoder"]
        settings["activation"] = embedder["activation"]
        settings["max_chars"] = embedder["max_characters_per_token"]
        cell_clip, proj_clip = encoder["cell_clip"], encoder["proj_clip"]
    encoder_arrays = _load_state(folder / "encoder.pkl")
    return ReferenceBiLM(
        _many_langs_tokens(
            folder, arrays, settings["activation"], settings["max_chars"]
        ),
        *(
            [
                _torch_lstm(encoder_arrays, name, cell_clip, proj_clip)
                for name in _numbered(encoder_arrays, f"{direction}_layer_")
            ]
            for direction in ("forward", "backward")
        ),
        residual=True,
        begin="<bos>",
        end="<eos>",
    )


def _many_langs_tokens(
    folder: Path, arrays: Dict[str, Array], activation: str, max_chars: int
) -> Callable[[str], Array]:
    cnn = CharacterCNN(
        embedding=arrays["char_emb_layer.embedding.weight"],
        filters=[_torch_filter(arrays, n) for n in _numbered(arrays, "convolutions.")],
        highways=[
            _torch_highway(arrays, name)
            for name in _numbered(arrays, "highways._layers.")
        ],
        activation=activation,
    )
    characters = read_dic(folder / "char.dic")
    word_vectors = arrays.get("word_emb_layer.embedding.weight")
    words = read_dic(folder / "word.dic") if word_vectors is not None else {}
    weight, bias = arrays["projection.weight"], arrays["projection.bias"]

    def token_vector(word: str) -> Array:
        # Words are cut before anything else is done with them.
        word = word[: max_chars - 2]
        vector = cnn(dictionary_characters(word, max_chars, characters))
        if word_vectors is not None:
            row = word_vectors[words.get(word, words["<oov>"])]
            vector = numpy.concatenate([row, vector])
        return weight @ vector + bias

    return token_vector


def read_dic(path: Path) -> Dict[str, int]:
    """Read a dictionary of ELMoForManyLangs, lines of `token<TAB>id`.

    Lines are stripped first: where that leaves the id alone, the token was white
    space, which counts as U+3000. Of two lines with a token the later one holds.
    """
    ids = {}
    for line in path.read_text("utf-8").splitlines():
        fields = line.strip().split("\t")
        token, number = fields if len(fields) == 2 else ("\u3000", fields[0])
        ids[token] = int(number)
    return ids


def _load_state(path: Path, prefix: str = "") -> Dict[str, Array]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    return {
        name[len(prefix) :]: value.double().numpy()
        for name, value in state.items()
        if name.startswith(prefix)
    }


def _numbered(arrays: Mapping[str, Array], prefix: str) -> List[str]:
    """The names `prefix0`, `prefix1`, ... up to the last that arrays belong to."""
    names: List[str] = []
    while any(name.startswith(f"{prefix}{len(names)}.") for name in arrays):
        names.append(f"{prefix}{len(names)}")
    return names


def _torch_filter(arrays: Mapping[str, Array], name: str) -> Tuple[Array, Array]:
    # From (n, char_dim, width).
    return arrays[f"{name}.weight"].transpose(2, 1, 0), arrays[f"{name}.bias"]


def _torch_highway(arrays: Mapping[str, Array], name: str) -> Highway:
    """A layer of `g * x + (1 - g) * relu(..)`; 1 - sigmoid(a) is sigmoid(-a)."""
    weight, carry = numpy.split(arrays[f"{name}.weight"], 2)
    bias, carry_bias = numpy.split(arrays[f"{name}.bias"], 2)
    return Highway(weight.T, bias, -carry.T, -carry_bias)


def _torch_lstm(
    arrays: Mapping[str, Array],
    name: str,
    cell_clip: Optional[float],
    output_clip: Optional[float],
) -> LSTM:
    order = ("input", "forget", "candidate", "output")
    inputs = numpy.split(arrays[f"{name}.input_linearity.weight"], 4)
    states = numpy.split(arrays[f"{name}.state_linearity.weight"], 4)
    biases = numpy.split(arrays[f"{name}.state_linearity.bias"], 4)
    return LSTM(
        {
            gate: numpy.concatenate([w.T, v.T])
            for gate, w, v in zip(order, inputs, states)
        },
        dict(zip(order, biases)),
        arrays[f"{name}.state_projection.weight"].T,
        cell_clip,
        output_clip,
    )
