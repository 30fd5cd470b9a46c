"""Writers of every published ELMo layout, with small random weights.

`Sizes` says what is common to all; each function writes one layout as the tools of its
time left it on disk, and the weights depend on nothing but the sizes and a seed.
"""

import io
import json
import tarfile
import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

import h5py
import numpy
import torch
from numpy.typing import NDArray

Array = NDArray[numpy.float32]

N_BYTE_CHARACTERS = 261
SPECIALS = ("<S>", "</S>", "<UNK>")
# As training options come, none of them of use when the model is read.
TRAINING_OPTIONS = {
    "bidirectional": True,
    "dropout": 0.1,
    "all_clip_norm_val": 10.0,
    "n_epochs": 10,
    "n_train_tokens": 768648884,
    "batch_size": 128,
    "n_tokens_vocab": 793471,
    "unroll_steps": 20,
    "n_negative_samples_batch": 8192,
}
ALLENNLP_PREFIX = "text_field_embedder.token_embedder_elmo._elmo."
ALLENNLP_OPTIONS_KEY = "model.text_field_embedder.token_embedders.elmo.options_file"
HIGHWAY_PARTS = ("W_transform", "b_transform", "W_carry", "b_carry")
MANY_LANGS_CONFIG = "cnn_50_100_512_4096_sample.json"


@dataclass(frozen=True)
class Sizes:
    """Sizes and switches of a biLM, named as in options.json.

    The key `n_highway` is absent when it is `None`, and `n_layers` when it is 1 and
    `single_cell` is set: then the arrays lie as bilm-tf dumps one-layer models.
    """

    char_dim: int = 3
    filters: Sequence[Tuple[int, int]] = ((1, 3), (2, 4), (4, 5))
    n_highway: Optional[int] = 1
    activation: str = "relu"
    n_characters: int = 262
    max_chars: int = 50
    dim: int = 7
    projection_dim: int = 5
    n_layers: int = 2
    single_cell: bool = False
    cell_clip: Optional[float] = 3.0
    proj_clip: Optional[float] = 3.0
    residual: bool = True
    extras: Mapping[str, Any] = field(default_factory=dict)

    @property
    def n_filters(self) -> int:
        return sum(number for _, number in self.filters)

    def options(self, characters: bool = True) -> Dict[str, Any]:
        """Return the contents of options.json."""
        lstm = {
            "cell_clip": self.cell_clip,
            "use_skip_connections": self.residual,
            "n_layers": self.n_layers,
            "proj_clip": self.proj_clip,
            "projection_dim": self.projection_dim,
            "dim": self.dim,
        }
        if self.single_cell:
            del lstm["n_layers"]
        options = {"lstm": lstm, **self.extras}
        if characters:
            options["char_cnn"] = self._char_cnn()
        return options

    def _char_cnn(self) -> Dict[str, Any]:
        settings: Dict[str, Any] = {
            "embedding": {"dim": self.char_dim},
            "filters": [list(pair) for pair in self.filters],
            "n_characters": self.n_characters,
            "max_characters_per_token": self.max_chars,
            "activation": self.activation,
        }
        if self.n_highway is not None:
            settings["n_highway"] = self.n_highway
        return settings


class BiLMFiles(NamedTuple):
    """Where a model was written.

    options (Path): options.json.
    weights (Path): The HDF5 file, or the state dict.
    vocab (Optional[Path]): vocab.txt, where there is one.
    """

    options: Path
    weights: Path
    vocab: Optional[Path] = None


def character_arrays(sizes: Sizes, rng: numpy.random.Generator) -> Dict[str, Array]:
    """Random weights of the characters' side, under their names in the HDF5."""
    n_filters = sizes.n_filters
    arrays = {"char_embed": _normal(rng, N_BYTE_CHARACTERS, sizes.char_dim)}
    for i, (width, number) in enumerate(sizes.filters):
        shape = (1, width, sizes.char_dim, number)
        # Mostly negative maxima: with relu alone the biases would hardly matter.
        arrays[f"CNN/W_cnn_{i}"] = _normal(rng, *shape, scale=0.4)
        arrays[f"CNN/b_cnn_{i}"] = _normal(rng, number, mean=-0.5)
    for k in range(sizes.n_highway or 0):
        for part in ("carry", "transform"):
            weight = _normal(rng, n_filters, n_filters, scale=0.4)
            arrays[f"CNN_high_{k}/W_{part}"] = weight
            arrays[f"CNN_high_{k}/b_{part}"] = _normal(rng, n_filters, mean=0.3)
    if n_filters != sizes.projection_dim:
        shape = (n_filters, sizes.projection_dim)
        arrays["CNN_proj/W_proj"] = _normal(rng, *shape, scale=0.5)
        arrays["CNN_proj/b_proj"] = _normal(rng, sizes.projection_dim)
    return arrays


def lstm_arrays(sizes: Sizes, rng: numpy.random.Generator) -> Dict[str, Array]:
    """Random weights of the LSTMs, under their names in the HDF5.

    Their scale is such that a clip of 3 changes the outputs.
    """
    arrays = {}
    for direction in (0, 1):
        for layer in range(sizes.n_layers):
            folder = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            if sizes.single_cell:
                folder = f"RNN_{direction}/RNN/LSTMCell"
            shape = (2 * sizes.projection_dim, 4 * sizes.dim)
            arrays[f"{folder}/W_0"] = _normal(rng, *shape, scale=0.3)
            bias = _normal(rng, 4, sizes.dim, scale=0.7)
            # Open input and forget gates, so that cells grow.
            bias[[0, 2]] += 1.5
            arrays[f"{folder}/B"] = bias.reshape(-1)
            if sizes.dim != sizes.projection_dim:
                shape = (sizes.dim, sizes.projection_dim)
                arrays[f"{folder}/W_P_0"] = _normal(rng, *shape, scale=1.2)
    return arrays


def _normal(
    rng: numpy.random.Generator, *shape: int, mean: float = 0.0, scale: float = 1.0
) -> Array:
    return rng.normal(mean, scale, shape).astype("float32")


def random_arrays(sizes: Sizes, seed: int = 0) -> Dict[str, Array]:
    """All random weights of a model that reads characters."""
    rng = numpy.random.default_rng(seed)
    return {**character_arrays(sizes, rng), **lstm_arrays(sizes, rng)}


def write_hdf5(path: Path, arrays: Mapping[str, Array]) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file.create_dataset(name, data=array)
    return path


def read_hdf5(path: Path) -> Dict[str, Array]:
    """Read every dataset of a file, under its full name."""
    arrays = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[...]

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return arrays


def write_bilm_files(
    folder: Path,
    sizes: Sizes = Sizes(),
    *,
    seed: int = 0,
    prefix: str = "",
    weights: str = "weights.hdf5",
) -> BiLMFiles:
    """Write options.json and the HDF5 weights, as bilm-tf and AllenNLP read them.

    prefix (str): Comes before both names, such as `"elmo_2x1024_"`.
    weights (str): Name of the HDF5 file.
    """
    return _write_pair(
        folder, sizes.options(), random_arrays(sizes, seed), prefix, weights
    )


def write_word_input(
    folder: Path, words: Sequence[str], sizes: Sizes = Sizes(), *, seed: int = 0
) -> BiLMFiles:
    """Write a biLM of bilm-tf that was trained on words: no characters in it.

    words (Sequence[str]): The vocabulary after `<S>`, `</S>` and `<UNK>`.
    """
    rng = numpy.random.default_rng(seed)
    shape = (len(SPECIALS) + len(words), sizes.projection_dim)
    arrays = {"embedding": _normal(rng, *shape), **lstm_arrays(sizes, rng)}
    files = _write_pair(folder, sizes.options(characters=False), arrays)
    return files._replace(vocab=write_vocab(folder / "vocab.txt", words))


def _write_pair(
    folder: Path,
    options: Mapping[str, Any],
    arrays: Mapping[str, Array],
    prefix: str = "",
    weights: str = "weights.hdf5",
) -> BiLMFiles:
    folder.mkdir(parents=True, exist_ok=True)
    options_path = _write_json(folder / f"{prefix}options.json", options)
    return BiLMFiles(options_path, write_hdf5(folder / f"{prefix}{weights}", arrays))


def write_vocab(path: Path, words: Sequence[str]) -> Path:
    lines = [*SPECIALS, *words]
    path.write_bytes("".join(f"{line}\n" for line in lines).encode("utf-8"))
    return path


def write_token_embeddings(
    path: Path, n_words: int, sizes: Sizes = Sizes(), *, seed: int = 1
) -> Path:
    """Write vectors of the lines of a vocab.txt, as bilm-tf dumps them.

    n_words (int): Number of lines, specials included.
    """
    shape = (n_words, sizes.projection_dim)
    rows = _normal(numpy.random.default_rng(seed), *shape)
    return write_hdf5(path, {"embedding": rows})


def nlpl_entries(
    sizes: Sizes = Sizes(), *, words: Sequence[str] = (), seed: int = 0
) -> Dict[str, bytes]:
    """Return the files of an archive of the NLPL word embeddings repository."""
    meta = {
        "algorithm": {"id": 6, "name": "Embeddings from Language Models (ELMo)"},
        "contents": [{"filename": "model.hdf5", "format": "hdf5"}],
        "corpus": [{"case preserved": True, "language": "eng"}],
        "creators": [{"email": "somebody@example.org", "name": "Some Body"}],
        "dimensions": 2 * sizes.projection_dim,
        "id": 999,
        "iterations": 3,
    }
    sizes = replace(sizes, extras={**TRAINING_OPTIONS, "milestone": 1})
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for name, array in random_arrays(sizes, seed).items():
            file.create_dataset(name, data=array)
    return {
        "README": b"An ELMo model.\n",
        "meta.json": json.dumps(meta).encode(),
        "options.json": json.dumps(sizes.options()).encode(),
        "model.hdf5": buffer.getvalue(),
        "vocab.txt": "".join(f"{w}\n" for w in (*SPECIALS, *words)).encode("utf-8"),
        "model.ckpt.index": b"\x00" * 16,
    }


def write_zip(path: Path, entries: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, entries: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, data in entries.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def write_folder(folder: Path, entries: Mapping[str, bytes]) -> Path:
    for name, data in entries.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def allennlp_state(
    sizes: Sizes, *, seed: int = 0, n_mixes: int = 1, prefix: str = ALLENNLP_PREFIX
) -> Dict[str, torch.Tensor]:
    """Return what a trained AllenNLP model with an ELMo embedder saved.

    The biLM in it is that of `random_arrays(sizes, seed)`, turned as AllenNLP turns
    HDF5 weights on reading them: it needs both projections.

    n_mixes (int): Number of scalar mixes, as models have that use several.
    prefix (str): Where the model keeps its embedder.
    """
    arrays = random_arrays(sizes, seed)
    state = {}
    for name, value in _allennlp_characters(sizes, arrays).items():
        state[f"{prefix}_elmo_lstm._token_embedder.{name}"] = value
    for direction, name in enumerate(("forward", "backward")):
        for layer in range(sizes.n_layers):
            folder = f"RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            cell = f"{prefix}_elmo_lstm._elmo_lstm.{name}_layer_{layer}"
            for key, value in _allennlp_lstm(sizes, arrays, folder).items():
                state[f"{cell}.{key}"] = value
    for number in range(n_mixes):
        mix = f"{prefix}scalar_mix_{number}"
        for layer in range(sizes.n_layers + 1):
            value = torch.tensor([0.1 * (layer + 1) + number])
            state[f"{mix}.scalar_parameters.{layer}"] = value
        state[f"{mix}.gamma"] = torch.tensor([1.5 + number])
    # The rest of the model is none of an importer's business.
    state["text_field_embedder.token_embedder_tokens.weight"] = torch.zeros(9, 4)
    state["encoder._module.weight_ih_l0"] = torch.zeros(12, 14)
    return {name: value.contiguous() for name, value in state.items()}


def _allennlp_characters(
    sizes: Sizes, arrays: Mapping[str, Array]
) -> Dict[str, torch.Tensor]:
    masked = numpy.zeros((1, sizes.char_dim), dtype="float32")
    state = {
        "_char_embedding_weights": numpy.concatenate([masked, arrays["char_embed"]])
    }
    for i in range(len(sizes.filters)):
        state[f"char_conv_{i}.weight"] = arrays[f"CNN/W_cnn_{i}"][0].transpose(2, 1, 0)
        state[f"char_conv_{i}.bias"] = arrays[f"CNN/b_cnn_{i}"]
    for k in range(sizes.n_highway or 0):
        parts = {name: arrays[f"CNN_high_{k}/{name}"] for name in HIGHWAY_PARTS}
        weight = [parts["W_transform"].T, -parts["W_carry"].T]
        bias = [parts["b_transform"], -parts["b_carry"]]
        state[f"_highways._layers.{k}.weight"] = numpy.concatenate(weight)
        state[f"_highways._layers.{k}.bias"] = numpy.concatenate(bias)
    state["_projection.weight"] = arrays["CNN_proj/W_proj"].T
    state["_projection.bias"] = arrays["CNN_proj/b_proj"]
    return {name: torch.tensor(value) for name, value in state.items()}


def _allennlp_lstm(
    sizes: Sizes, arrays: Mapping[str, Array], folder: str
) -> Dict[str, torch.Tensor]:
    order = [0, 2, 1, 3]
    weight = numpy.stack(numpy.split(arrays[f"{folder}/W_0"], 4, axis=1))[order]
    bias = arrays[f"{folder}/B"].reshape(4, sizes.dim)[order]
    bias[1] += 1.0
    inputs, states = numpy.split(weight, 2, axis=1)
    return {
        "input_linearity.weight": torch.tensor(_gate_rows(inputs)),
        "state_linearity.weight": torch.tensor(_gate_rows(states)),
        "state_linearity.bias": torch.tensor(bias.reshape(-1)),
        "state_projection.weight": torch.tensor(arrays[f"{folder}/W_P_0"].T.copy()),
    }


def _gate_rows(weight: Array) -> Array:
    """From `(4, n_in, n_cell)` to the rows of torch's layout, `(4 * n_cell, n_in)`."""
    return weight.transpose(0, 2, 1).reshape(-1, weight.shape[1])


def allennlp_config(options_file: str) -> Dict[str, Any]:
    """Return the config.json of an archived model."""
    embedders = {
        "tokens": {"type": "embedding", "embedding_dim": 4},
        "elmo": {
            "type": "elmo_token_embedder",
            "options_file": options_file,
            "weight_file": "https://example.org/elmo_weights.hdf5",
            "do_layer_norm": False,
            "dropout": 0.5,
        },
    }
    return {
        "dataset_reader": {"type": "conll2003"},
        "model": {
            "type": "simple_tagger",
            "text_field_embedder": {"token_embedders": embedders},
        },
    }


def allennlp_entries(
    sizes: Sizes = Sizes(),
    *,
    seed: int = 0,
    n_mixes: int = 1,
    prefix: str = ALLENNLP_PREFIX,
    options: str = "beside",
    weights: str = "weights.th",
) -> Dict[str, bytes]:
    """Return the files of a trained AllenNLP model.

    n_mixes, prefix: See `allennlp_state`.
    options (str): Where options.json is: `"beside"` the config, at the `"path"` that
        the config names, `"archived"` as AllenNLP 0.x does it, or `"nowhere"`.
    weights (str): Name of the state dict.
    """
    named = "elmo/options.json"
    state = allennlp_state(sizes, seed=seed, n_mixes=n_mixes, prefix=prefix)
    entries = {
        "config.json": json.dumps(allennlp_config(named)).encode(),
        weights: saved(state),
        "vocabulary/non_padded_namespaces.txt": b"*tags\n*labels\n",
        "vocabulary/tokens.txt": b"@@UNKNOWN@@\nthe\n",
    }
    if options == "archived":
        names = {ALLENNLP_OPTIONS_KEY: named}
        entries["files_to_archive.json"] = json.dumps(names).encode()
    places = {
        "beside": "options.json",
        "path": named,
        "archived": f"fta/{ALLENNLP_OPTIONS_KEY}",
    }
    if options in places:
        entries[places[options]] = json.dumps(sizes.options()).encode()
    return entries


def saved(value: Any) -> bytes:
    """Return what `torch.save` writes."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@dataclass(frozen=True)
class Dictionary:
    """A dictionary of ELMoForManyLangs: raw lines, in the order of their ids."""

    tokens: Sequence[str]

    def to_bytes(self) -> bytes:
        lines = [f"{token}\t{number}\n" for number, token in enumerate(self.tokens)]
        return "".join(lines).encode("utf-8")


# White space is stripped off its lines; two such lines are one token, the later.
CHARACTERS = Dictionary(
    [
        *("<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>", "\u3000"),
        *"etaoinshrdlucmfwypvbgkqjxz.,AR",
        *("é", "я", "日", "🙂", " "),
    ]
)
# The last word is what is left of longer ones when they are cut to 50 characters.
WORDS = Dictionary(
    ["<oov>", "<bos>", "<eos>", "<pad>", "the", "Rome", "日本", "\u3000", "x" * 48]
)


def write_many_langs(
    folder: Path,
    sizes: Sizes = Sizes(),
    *,
    seed: int = 0,
    word_dim: int = 4,
    config: str = "beside",
) -> Path:
    """Write a model folder of ELMoForManyLangs.

    word_dim (int): Width of the word vectors; 0 for a model of characters only.
    config (str): `"beside"` to put the network's config into the folder, under the
        name that ends config.json's path; `"configs"` for a folder of that name in
        it; `"missing"` for neither.
    """
    rng = numpy.random.default_rng(seed)
    entries = {
        "config.json": json.dumps(
            {
                "seed": 1,
                "gpu": 0,
                "config_path": f"/users4/nobody/elmo/configs/{MANY_LANGS_CONFIG}",
                "max_sent_len": 20,
                "min_count": 3,
            }
        ).encode(),
        "char.dic": CHARACTERS.to_bytes(),
        "token_embedder.pkl": saved(_many_langs_tokens(sizes, word_dim, rng)),
        "encoder.pkl": saved(_many_langs_encoder(sizes, rng)),
    }
    if word_dim:
        entries["word.dic"] = WORDS.to_bytes()
    contents = json.dumps(many_langs_config(sizes, word_dim)).encode()
    if config == "beside":
        entries[MANY_LANGS_CONFIG] = contents
    elif config == "configs":
        entries[f"configs/{MANY_LANGS_CONFIG}"] = contents
    return write_folder(folder, entries)


def many_langs_config(sizes: Sizes, word_dim: int) -> Dict[str, Any]:
    """Return the config of a network of ELMoForManyLangs."""
    return {
        "encoder": {
            "name": "elmo",
            "projection_dim": sizes.projection_dim,
            "cell_clip": sizes.cell_clip,
            "proj_clip": sizes.proj_clip,
            "dim": sizes.dim,
            "n_layers": sizes.n_layers,
        },
        "token_embedder": {
            "name": "cnn",
            "activation": sizes.activation,
            "filters": [list(pair) for pair in sizes.filters],
            "n_highway": sizes.n_highway,
            "word_dim": word_dim,
            "char_dim": sizes.char_dim,
            "max_characters_per_token": sizes.max_chars,
        },
        "classifier": {"name": "sampled_softmax", "n_samples": 8192},
        "dropout": 0.1,
    }


def _many_langs_tokens(
    sizes: Sizes, word_dim: int, rng: numpy.random.Generator
) -> Dict[str, torch.Tensor]:
    n_filters, state = sizes.n_filters, {}
    if word_dim:
        state["word_emb_layer.embedding.weight"] = _normal(
            rng, len(WORDS.tokens), word_dim
        )
    state["char_emb_layer.embedding.weight"] = _normal(
        rng, len(CHARACTERS.tokens), sizes.char_dim
    )
    for i, (width, number) in enumerate(sizes.filters):
        shape = (number, sizes.char_dim, width)
        state[f"convolutions.{i}.weight"] = _normal(rng, *shape, scale=0.4)
        state[f"convolutions.{i}.bias"] = _normal(rng, number, mean=-0.5)
    for k in range(sizes.n_highway or 0):
        shape = (2 * n_filters, n_filters)
        state[f"highways._layers.{k}.weight"] = _normal(rng, *shape, scale=0.4)
        state[f"highways._layers.{k}.bias"] = _normal(rng, 2 * n_filters)
    shape = (sizes.projection_dim, word_dim + n_filters)
    state["projection.weight"] = _normal(rng, *shape, scale=0.5)
    state["projection.bias"] = _normal(rng, sizes.projection_dim)
    return {name: torch.tensor(value) for name, value in state.items()}


def _many_langs_encoder(
    sizes: Sizes, rng: numpy.random.Generator
) -> Dict[str, torch.Tensor]:
    width, n_gates, state = sizes.projection_dim, 4 * sizes.dim, {}
    for direction in ("forward", "backward"):
        for layer in range(sizes.n_layers):
            prefix = f"{direction}_layer_{layer}"
            for part in ("input", "state"):
                weight = _normal(rng, n_gates, width, scale=0.3)
                state[f"{prefix}.{part}_linearity.weight"] = weight
            bias = _normal(rng, 4, sizes.dim, scale=0.7)
            bias[[0, 1]] += 2.0
            state[f"{prefix}.state_linearity.bias"] = bias.reshape(-1)
            weight = _normal(rng, width, sizes.dim, scale=1.2)
            state[f"{prefix}.state_projection.weight"] = weight
    return {name: torch.tensor(value) for name, value in state.items()}


def _write_json(path: Path, value: Any) -> Path:
    path.write_text(json.dumps(value), "utf-8")
    return path


# Documents as nobody wants them: long and foreign words, the names of symbols, white
# space, nothing.
DOCUMENTS: List[List[str]] = [
    "the river near Rome is wide .".split(),
    ["x" * 300, "é" * 40, "日本", "🙂🙃", "\u200b", "naïve"],
    ["<S>", "the", "</S>", "<bos>", "<eos>", "<UNK>", "<pad>", "<oov>"],
    [],
    [" ", "Rome", "\n\n", "wide", "\u3000", "\t"],
    ["\n"],
    ["."],
    ["a\u3000b", "a b", "Ā" + "t", "xyzzy"],
]
