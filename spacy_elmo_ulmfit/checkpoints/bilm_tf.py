"""Reads the published format of ELMo: `options.json` and HDF5 of bilm-tf and AllenNLP."""

from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from ..modules.bilm import BiLM, BiLMConfig
from .bilm_tf_datasets import (
    CELL,
    ONLY_CELL,
    SOFTMAX_BIAS,
    SOFTMAX_COUNTS,
    SOFTMAX_VOCABULARY_FILE,
    SOFTMAX_WEIGHT,
    VOCABULARY_FILE,
    WARM_STATE,
    dataset_entries,
)
from .files import SourceFiles, checksum_warning, find_only, full_name, read_bytes
from .hdf5 import dataset_names, open_hdf5, read_dataset
from .native import Checkpoint
from .options import UNKNOWN, WordList, read_options


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
    if SOFTMAX_BIAS in file and predicted is not None:
        settings = {
            **settings,
            "n_words": _n_predicted(file, predicted, name),
            "tie_softmax": reads_words and SOFTMAX_WEIGHT not in file,
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
    rows, n_words = len(file[SOFTMAX_BIAS]), len(predicted.words)
    if rows != n_words:
        raise ValueError(
            f"{name} predicts {rows} words, but {predicted.name} has {n_words}. Give the "
            "folder that 'python -m spacy lm export' wrote as a whole: the words are in "
            f"its {SOFTMAX_VOCABULARY_FILE} or {VOCABULARY_FILE}."
        )
    return n_words


def _cell_path(file: Any, n_layers: int) -> str:
    only = ONLY_CELL.format(direction=0)
    return ONLY_CELL if n_layers == 1 and only in file else CELL


def _read_state(
    file: Any, config: BiLMConfig, name: str, described_by: str
) -> Dict[str, Tensor]:
    entries = dataset_entries(config, _cell_path(file, config.n_layers))
    state = {}
    for entry in entries:
        array = read_dataset(
            file, entry.dataset, entry.shape, name, described_by=described_by
        )
        tensors = entry.to_ours(array)
        state.update({n: t.contiguous() for n, t in zip(entry.names, tensors)})
    known = {
        *(entry.dataset for entry in entries),
        SOFTMAX_WEIGHT,
        SOFTMAX_BIAS,
        SOFTMAX_COUNTS,
    }
    known |= set(WARM_STATE.values())
    unknown = sorted(set(dataset_names(file)) - known)
    if unknown:
        raise ValueError(
            f"{name} has the dataset {unknown[0]}, for which {described_by} leaves no "
            "place (n_layers, n_highway or filters). Do the two files belong together?"
        )
    sizes = {"warm_hidden": config.projection_dim, "warm_cell": config.cell_dim}
    for ours, dataset in WARM_STATE.items():
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
        if SOFTMAX_COUNTS in file and file[SOFTMAX_COUNTS].shape == (config.n_words,):
            counts = file[SOFTMAX_COUNTS][...].tolist()
        extra["vocabulary"] = {
            "unknown": UNKNOWN,
            "words": predicted.words,
            "counts": counts,
        }
    return extra
