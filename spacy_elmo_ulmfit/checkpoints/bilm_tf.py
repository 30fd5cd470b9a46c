"""The published format of ELMo: `options.json` and HDF5, as bilm-tf and AllenNLP have it.

Sources: bilm-tf's `bilm/model.py` and AllenNLP's `modules/elmo.py`.
"""

import json
from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from ..modules.bilm import BiLM, BiLMConfig
from .files import SourceFiles, checksum_warning, find_only, full_name, read_bytes
from .hdf5 import dataset_names, import_h5py, open_hdf5, read_dataset
from .native import Checkpoint
from .options import UNKNOWN, WordList, read_options, write_options

OPTIONS_FILE, WEIGHTS_FILE, VOCABULARY_FILE = (
    "options.json",
    "weights.hdf5",
    "vocab.txt",
)
# Words of the softmax, where the model reads other words than it predicts.
SOFTMAX_VOCABULARY_FILE = "softmax_vocab.txt"
# What the older tools have no place for, and do not look at: the softmax, how often its
# words were seen, and the state that sequences start from.
_WEIGHT, _BIAS, _COUNTS = "softmax/W", "softmax/b", "softmax/counts"
_WARM = {"warm_hidden": "initial_state/hidden", "warm_cell": "initial_state/cell"}
_CELL = "RNN_{direction}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
# bilm-tf leaves the number of the cell out where there is only one.
_ONLY_CELL = "RNN_{direction}/RNN/LSTMCell"


class _Entry(NamedTuple):
    """One dataset and what it is here.

    dataset (str): Path in the HDF5 file.
    shape (Tuple[int, ...]): Its shape.
    names (Tuple[str, ...]): Our tensors.
    to_ours (Callable): From the dataset to our tensors.
    to_theirs (Callable): The inverse, to the bit.
    """

    dataset: str
    shape: Tuple[int, ...]
    names: Tuple[str, ...]
    to_ours: Callable[[Tensor], Tuple[Tensor, ...]]
    to_theirs: Callable[..., Tensor]


def read_bilm_tf(
    files: SourceFiles,
    options_name: str,
    weights_name: str,
    vocabulary: Optional[WordList],
    predicted: Optional[WordList],
) -> Tuple[Checkpoint, List[str]]:
    """Read a biLM.

    files (SourceFiles): The files.
    options_name (str): Which of them is `options.json`.
    weights_name (str): Which is the HDF5 file.
    vocabulary (Optional[WordList]): The vocabulary, which models that read words need.
    predicted (Optional[WordList]): The words of its softmax; without them a softmax is
        left out.
    RETURNS (Tuple[Checkpoint, List[str]]): The biLM, and what the user should know.
    RAISES (ValueError): If the files are damaged, or contradict each other.
    """
    options = read_options(
        read_bytes(files, options_name), full_name(files, options_name)
    )
    name, described_by = (full_name(files, n) for n in (weights_name, options_name))
    with files.open(weights_name) as handle:
        warning = checksum_warning(handle, name)
        with open_hdf5(handle, name) as file:
            config = _config(
                options.config(), file, vocabulary, predicted, name, described_by
            )
            state = _read_state(file, config, name, described_by)
            extra = _extra(file, config, vocabulary, predicted)
    settings = {**vars(config), "filters": list(config.filters)}
    checkpoint = Checkpoint(BiLM.kind, settings, state, extra, {})
    return checkpoint, [] if warning is None else [warning]


def write_bilm_tf(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a biLM as the older tools read it.

    If there is a softmax, what they have no place for is written beside their datasets,
    so that the biLM comes back as it was.

    folder (Path): Where to write `options.json`, `weights.hdf5` and, if the biLM has
        a vocabulary, `vocab.txt`; also `softmax_vocab.txt`, if it predicts other words
        than it reads. It must exist.
    checkpoint (Checkpoint): The biLM.
    RAISES (ValueError): If the format cannot hold it.
    """
    config = _checked_config(checkpoint)
    h5py = import_h5py()
    with h5py.File(folder / WEIGHTS_FILE, "w") as file:
        for entry in _entries(config, _CELL):
            tensors = [checkpoint.state[name].float().cpu() for name in entry.names]
            file[entry.dataset] = entry.to_theirs(*tensors).contiguous().numpy()
        if config.n_layers == 1:
            # AllenNLP looks for the cell by its number, bilm-tf writes it without.
            for direction in range(2 if config.bidirectional else 1):
                path = _CELL.format(direction=direction, layer=0)
                file[_ONLY_CELL.format(direction=direction)] = file[path]
        if config.n_words:
            for name, dataset in _WARM.items():
                file[dataset] = checkpoint.state[name].float().cpu().numpy()
            file[_COUNTS] = checkpoint.extra["vocabulary"]["counts"]
    options = json.dumps(write_options(config), indent=2)
    (folder / OPTIONS_FILE).write_text(options + "\n", encoding="utf-8")
    read = checkpoint.extra.get("indexer", {}).get("words")
    predicted = checkpoint.extra.get("vocabulary", {}).get("words")
    _write_words(folder / VOCABULARY_FILE, read or predicted)
    if read and predicted != read:
        _write_words(folder / SOFTMAX_VOCABULARY_FILE, predicted)


def find_options(files: SourceFiles) -> Optional[str]:
    """Return the name of the options file, `None` if there is none."""
    return find_only(files, "--options", "options.json", "*options*.json")


def find_weights(files: SourceFiles) -> Optional[str]:
    """Return the name of the HDF5 file, `None` if there is none."""
    patterns = ("weights.hdf5", "*weights*.hdf5", "model.hdf5", "*.hdf5", "*.h5")
    return find_only(files, "--weights", *patterns)


def _config(
    settings: Dict[str, Any],
    file: Any,
    vocabulary: Optional[WordList],
    predicted: Optional[WordList],
    name: str,
    described_by: str,
) -> BiLMConfig:
    """Complete the options by what only the arrays say."""
    reads_words = not settings["filters"]
    cell = _cell_path(file, settings["n_layers"])
    first = cell.format(direction=0, layer=0)
    if reads_words:
        if "char_embed" in file:
            raise ValueError(
                f"{name} reads characters (it has the dataset char_embed), but "
                f"{described_by} has no char_cnn. Do the two files belong together?"
            )
        settings = {
            **settings,
            "n_input_words": _n_words(file, vocabulary, name),
            "word_dim": settings["projection_dim"],
        }
    n_filters = sum(number for _, number in settings["filters"])
    projects = n_filters != settings["projection_dim"] or "CNN_proj" in file
    narrows = settings["cell_dim"] != settings["projection_dim"]
    if _BIAS in file and predicted is not None:
        settings = {
            **settings,
            "n_words": _n_predicted(file, predicted, name),
            "tie_softmax": reads_words and _WEIGHT not in file,
        }
    return BiLMConfig(
        **settings,
        project_tokens=not reads_words and projects,
        project_cells=narrows or f"{first}/W_P_0" in file,
        # TensorFlow adds 1 to what it stores.
        forget_bias=1.0,
    )


def _n_words(file: Any, vocabulary: Optional[WordList], name: str) -> int:
    if vocabulary is None:
        raise ValueError(
            f"{name} reads whole words, so it needs the vocabulary it was trained with. "
            f"Give it by --vocab, or put {VOCABULARY_FILE} beside the weights."
        )
    words = vocabulary.words
    missing = [word for word in ("<S>", "</S>", UNKNOWN) if word not in words]
    if missing:
        raise ValueError(
            f"{vocabulary.name} lacks {', '.join(missing)}. It must be the vocabulary "
            f"that {name} was trained with."
        )
    rows = file["embedding"].shape[0] if "embedding" in file else len(words)
    if rows != len(words):
        raise ValueError(
            f"{name} has vectors of {rows} words, but {vocabulary.name} has "
            f"{len(words)}. It must be the vocabulary that the model was trained with."
        )
    return len(words)


def _n_predicted(file: Any, predicted: WordList, name: str) -> int:
    rows, n_words = len(file[_BIAS]), len(predicted.words)
    if rows != n_words:
        raise ValueError(
            f"{name} predicts {rows} words, but {predicted.name} has {n_words}. Give the "
            "folder that 'python -m spacy lm export' wrote as a whole: the words are in "
            f"its {SOFTMAX_VOCABULARY_FILE} or {VOCABULARY_FILE}."
        )
    return n_words


def _cell_path(file: Any, n_layers: int) -> str:
    only = _ONLY_CELL.format(direction=0)
    return _ONLY_CELL if n_layers == 1 and only in file else _CELL


def _read_state(
    file: Any, config: BiLMConfig, name: str, described_by: str
) -> Dict[str, Tensor]:
    entries = _entries(config, _cell_path(file, config.n_layers))
    state = {}
    for entry in entries:
        array = read_dataset(
            file, entry.dataset, entry.shape, name, described_by=described_by
        )
        tensors = entry.to_ours(array)
        state.update({n: t.contiguous() for n, t in zip(entry.names, tensors)})
    known = {*(entry.dataset for entry in entries), _WEIGHT, _BIAS, _COUNTS}
    known |= set(_WARM.values())
    unknown = sorted(set(dataset_names(file)) - known)
    if unknown:
        raise ValueError(
            f"{name} has the dataset {unknown[0]}, for which {described_by} leaves no "
            "place (n_layers, n_highway or filters). Do the two files belong together?"
        )
    sizes = {"warm_hidden": config.projection_dim, "warm_cell": config.cell_dim}
    for ours, dataset in _WARM.items():
        n_directions = 2 if config.bidirectional else 1
        shape = (n_directions, config.n_layers, 1, sizes[ours])
        state[ours] = torch.zeros(shape)
        if dataset in file:
            state[ours] = read_dataset(
                file, dataset, shape, name, described_by=described_by
            )
    return state


def _extra(
    file: Any,
    config: BiLMConfig,
    vocabulary: Optional[WordList],
    predicted: Optional[WordList],
) -> Dict[str, Any]:
    extra: Dict[str, Any] = {
        "indexer": {"kind": "bytes", "max_chars": config.max_chars}
    }
    if config.n_input_words and vocabulary is not None:
        words = vocabulary.words
        extra["indexer"] = {"kind": "words", "words": words, "unknown": UNKNOWN}
    if config.n_words and predicted is not None:
        counts = [0] * config.n_words
        if _COUNTS in file and file[_COUNTS].shape == (config.n_words,):
            counts = file[_COUNTS][...].tolist()
        extra["vocabulary"] = {
            "unknown": UNKNOWN,
            "words": predicted.words,
            "counts": counts,
        }
    return extra


def _write_words(path: Path, words: Optional[List[str]]) -> None:
    if words is not None:
        path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")


def _checked_config(checkpoint: Checkpoint) -> BiLMConfig:
    settings = {**checkpoint.settings}
    settings["filters"] = tuple(tuple(pair) for pair in settings["filters"])
    config = BiLMConfig(**settings)
    reads_both = bool(config.filters) and bool(config.n_input_words)
    if checkpoint.extra.get("indexer", {}).get("kind") == "dictionary" or reads_both:
        raise ValueError(
            "bilm-tf's format holds biLMs that read words as UTF-8 bytes, or whole "
            "words; this one reads them by dictionaries, so it cannot be exported."
        )
    return config


def _entries(config: BiLMConfig, cell: str) -> List[_Entry]:
    """List all datasets of a model."""
    entries = _character_entries(config) if config.filters else _word_entries(config)
    directions = ("forward", "backward") if config.bidirectional else ("forward",)
    for number, direction in enumerate(directions):
        for layer in range(config.n_layers):
            path = cell.format(direction=number, layer=layer)
            entries += _lstm_entries(config, path, f"{direction}_layers.{layer}")
    if config.n_words and not config.tie_softmax:
        shape = (config.n_words, config.projection_dim)
        entries.append(_Entry(_WEIGHT, shape, ("head.weight",), _same, _first))
    if config.n_words:
        entries.append(_Entry(_BIAS, (config.n_words,), ("head.bias",), _same, _first))
    return entries


def _word_entries(config: BiLMConfig) -> List[_Entry]:
    shape = (config.n_input_words, config.projection_dim)
    names = ("token_encoder.words.weight",)
    return [_Entry("embedding", shape, names, _add_row, _drop_row)]


def _character_entries(config: BiLMConfig) -> List[_Entry]:
    ours = "token_encoder.characters"
    n_filters = sum(number for _, number in config.filters)
    shape: Tuple[int, ...] = (config.n_characters - 1, config.char_dim)
    names: Tuple[str, ...] = (f"{ours}.embedding.weight",)
    entries = [_Entry("char_embed", shape, names, _add_row, _drop_row)]
    for i, (width, number) in enumerate(config.filters):
        shape = (1, width, config.char_dim, number)
        names = (f"{ours}.convolutions.{i}.weight",)
        entries.append(
            _Entry(f"CNN/W_cnn_{i}", shape, names, _read_filter, _write_filter)
        )
        names = (f"{ours}.convolutions.{i}.bias",)
        entries.append(_Entry(f"CNN/b_cnn_{i}", (number,), names, _same, _first))
    for k in range(config.n_highway):
        # What the files call "carry" is the gate of the transformed part.
        for name, theirs in (("gate", "carry"), ("transform", "transform")):
            entries += _linear_entries(
                f"CNN_high_{k}/{{}}_{theirs}",
                (n_filters, n_filters),
                f"{ours}.highways.{k}.{name}",
            )
    if config.project_tokens or (
        config.project_tokens is None and n_filters != config.projection_dim
    ):
        shape = (n_filters, config.projection_dim)
        entries += _linear_entries(
            "CNN_proj/{}_proj", shape, "token_encoder.projection"
        )
    return entries


def _lstm_entries(config: BiLMConfig, path: str, ours: str) -> List[_Entry]:
    width, cells = config.projection_dim, config.cell_dim
    missing = 1.0 - config.forget_bias

    def read_bias(array: Tensor) -> Tuple[Tensor, ...]:
        return (_swap_gates(array),)

    def write_bias(bias: Tensor) -> Tensor:
        if missing:
            bias = bias.clone()
            bias[cells : 2 * cells] -= missing
        return _swap_gates(bias)

    names = (f"{ours}.weight_ih", f"{ours}.weight_hh")
    shape = (2 * width, 4 * cells)
    entries = [
        _Entry(f"{path}/W_0", shape, names, _read_gates, _write_gates),
        _Entry(f"{path}/B", (4 * cells,), (f"{ours}.bias",), read_bias, write_bias),
    ]
    if config.project_cells or (config.project_cells is None and cells != width):
        names = (f"{ours}.weight_hr",)
        shape = (cells, width)
        entries.append(_Entry(f"{path}/W_P_0", shape, names, _transposed, _transpose))
    return entries


def _linear_entries(path: str, shape: Tuple[int, int], ours: str) -> List[_Entry]:
    return [
        _Entry(path.format("W"), shape, (f"{ours}.weight",), _transposed, _transpose),
        _Entry(path.format("b"), shape[1:], (f"{ours}.bias",), _same, _first),
    ]


def _same(array: Tensor) -> Tuple[Tensor, ...]:
    return (array,)


def _first(tensor: Tensor) -> Tensor:
    return tensor


def _transposed(array: Tensor) -> Tuple[Tensor, ...]:
    return (array.t(),)


def _transpose(tensor: Tensor) -> Tensor:
    return tensor.t()


def _add_row(array: Tensor) -> Tuple[Tensor, ...]:
    # Our row 0 is for masked positions.
    return (torch.cat([array.new_zeros(1, array.shape[1]), array]),)


def _drop_row(tensor: Tensor) -> Tensor:
    return tensor[1:]


def _read_filter(array: Tensor) -> Tuple[Tensor, ...]:
    return (array[0].permute(2, 1, 0),)


def _write_filter(tensor: Tensor) -> Tensor:
    return tensor.permute(2, 1, 0).unsqueeze(0)


def _swap_gates(gates: Tensor) -> Tensor:
    """Exchange the middle blocks: input, candidate, forget, output and torch's order."""
    first, second, third, fourth = gates.chunk(4)
    return torch.cat([first, third, second, fourth])


def _read_gates(array: Tensor) -> Tuple[Tensor, ...]:
    weight = _swap_gates(array.t())
    return weight.split(weight.shape[1] // 2, dim=1)


def _write_gates(weight_ih: Tensor, weight_hh: Tensor) -> Tensor:
    return _swap_gates(torch.cat([weight_ih, weight_hh], dim=1)).t()
