"""Writes biLMs as bilm-tf, AllenNLP and simple_elmo read them."""

import json
from pathlib import Path
from typing import List, Optional

from ..modules.bilm import BiLMConfig
from .bilm_tf_datasets import (
    CELL,
    ONLY_CELL,
    OPTIONS_FILE,
    SOFTMAX_COUNTS,
    SOFTMAX_VOCABULARY_FILE,
    VOCABULARY_FILE,
    WARM_STATE,
    WEIGHTS_FILE,
    dataset_entries,
)
from .hdf5 import import_h5py
from .native import Checkpoint
from .options import write_options


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
        for entry in dataset_entries(config, CELL):
            tensors = [checkpoint.state[name].float().cpu() for name in entry.names]
            file[entry.dataset] = entry.to_theirs(*tensors).contiguous().numpy()
        if config.n_layers == 1:
            # AllenNLP looks for the cell by its number, bilm-tf writes it without.
            for direction in range(2 if config.bidirectional else 1):
                path = CELL.format(direction=direction, layer=0)
                file[ONLY_CELL.format(direction=direction)] = file[path]
        if config.n_words:
            for name, dataset in WARM_STATE.items():
                file[dataset] = checkpoint.state[name].float().cpu().numpy()
            file[SOFTMAX_COUNTS] = checkpoint.extra["vocabulary"]["counts"]
    options = json.dumps(write_options(config), indent=2)
    (folder / OPTIONS_FILE).write_text(options + "\n", encoding="utf-8")
    read = checkpoint.extra.get("indexer", {}).get("words")
    predicted = checkpoint.extra.get("vocabulary", {}).get("words")
    _write_words(folder / VOCABULARY_FILE, read or predicted)
    if read and predicted != read:
        _write_words(folder / SOFTMAX_VOCABULARY_FILE, predicted)


def _checked_config(checkpoint: Checkpoint) -> BiLMConfig:
    settings = {**checkpoint.settings}
    settings["filters"] = tuple(tuple(pair) for pair in settings["filters"])
    config = BiLMConfig(**settings)
    if config.softmax_cutoffs:
        raise ValueError(
            "bilm-tf's format has no adaptive softmax, but this biLM has one "
            f"(softmax_cutoffs = {list(config.softmax_cutoffs)}), so it cannot be exported."
        )
    reads_both = bool(config.filters) and bool(config.n_input_words)
    if checkpoint.extra.get("indexer", {}).get("kind") == "dictionary" or reads_both:
        raise ValueError(
            "bilm-tf's format holds biLMs that read words as UTF-8 bytes, or whole "
            "words; this one reads them by dictionaries, so it cannot be exported."
        )
    return config


def _write_words(path: Path, words: Optional[List[str]]) -> None:
    if words is not None:
        path.write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
