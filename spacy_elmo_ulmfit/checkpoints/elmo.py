"""Published ELMo models of every kind, as native checkpoints."""

from pathlib import Path
from typing import List, NamedTuple, Optional, cast

from ..checkpoints import allennlp, bilm_tf
from ..modules.bilm import BiLM
from .bilm_tf_datasets import SOFTMAX_VOCABULARY_FILE, VOCABULARY_FILE
from .elmo_for_many_langs import is_many_langs, read_many_langs
from .files import (
    CombinedFiles,
    SourceFiles,
    absolute_name,
    find_name,
    full_name,
    open_source,
    read_bytes,
)
from .hdf5 import open_hdf5, read_dataset
from .native import Checkpoint, build_module
from .options import WordList, read_vocabulary

_ACCEPTED = (
    "options.json with an HDF5 file (bilm-tf, AllenNLP, NLPL), an AllenNLP archive "
    "(model.tar.gz or *.th), or a folder of ELMoForManyLangs (token_embedder.pkl)"
)


class ImportedELMo(NamedTuple):
    """A published biLM.

    format (str): `"bilm-tf"`, `"allennlp"` or `"elmo-for-many-langs"`.
    checkpoint (Checkpoint): The biLM; its `extra` has the indexer, and the
        vocabulary if there is a softmax.
    notes (List[str]): What the user should know.
    """

    format: str
    checkpoint: Checkpoint
    notes: List[str]

    @property
    def module(self) -> BiLM:
        """The biLM as a torch module, in evaluation mode."""
        module = build_module(self.checkpoint.kind, self.checkpoint.settings)
        module.load_state_dict(self.checkpoint.state)
        return cast(BiLM, module.eval())


def read_elmo(
    source: Path,
    *,
    options: Optional[Path] = None,
    weights: Optional[Path] = None,
    vocab: Optional[Path] = None,
    token_embeddings: Optional[Path] = None,
) -> ImportedELMo:
    """Read a published ELMo model; what kind it is follows from its files.

    source (Path): A folder, a zip or tar archive, an options file (then with
        `weights`) or a weights file (then with `options`).
    options (Optional[Path]): The options file, if it is not part of the source.
    weights (Optional[Path]): The weights file, if it is not part of the source.
    vocab (Optional[Path]): The vocabulary file, if it is not part of the source.
    token_embeddings (Optional[Path]): HDF5 file with vectors of the words of the
        vocabulary, as bilm-tf's `dump_token_embeddings` writes it.
    RETURNS (ImportedELMo): The model.
    RAISES (ValueError): If it cannot be read, saying which file is wrong and how.
    """
    given = [p for p in (options, weights, vocab) if p is not None]
    for path in given:
        open_source(path)
    files = CombinedFiles(open_source(source), given)
    if is_many_langs(files):
        imported = ImportedELMo("elmo-for-many-langs", *read_many_langs(files))
    else:
        imported = _read_known(files, source, options, weights, vocab)
    if token_embeddings is not None:
        _publish_words(imported.checkpoint, vocab, token_embeddings)
    return imported


def _read_known(
    files: SourceFiles,
    source: Path,
    options_path: Optional[Path],
    weights_path: Optional[Path],
    vocab: Optional[Path],
) -> ImportedELMo:
    """Read bilm-tf's or AllenNLP's format, whichever the weights have."""
    options_name = None if options_path is None else absolute_name(options_path)
    if weights_path is not None:
        weights_name: Optional[str] = absolute_name(weights_path)
    else:
        weights_name = bilm_tf.find_weights(files) or allennlp.find_weights(files)
    if weights_name is None:
        raise ValueError(_nothing_found(files))
    if weights_name.endswith((".hdf5", ".h5")):
        options_name = options_name or bilm_tf.find_options(files)
        if options_name is None and source.suffix == ".json":
            options_name = source.name
        if options_name is None:
            raise ValueError(
                f"{full_name(files, weights_name)} comes without its options.json, "
                "which says how it is to be read. Give it by --options."
            )
        words = _read_words(files, vocab, VOCABULARY_FILE, "vocab*.txt")
        predicted = _read_words(files, None, SOFTMAX_VOCABULARY_FILE) or words
        checkpoint, notes = bilm_tf.read_bilm_tf(
            files, options_name, weights_name, words, predicted
        )
        return ImportedELMo("bilm-tf", checkpoint, notes)
    checkpoint, notes = allennlp.read_allennlp(files, weights_name, options_name)
    return ImportedELMo("allennlp", checkpoint, notes)


def _nothing_found(files: SourceFiles) -> str:
    if find_name(files, "*.ckpt*") is not None:
        return (
            f"{files.path} holds a TensorFlow checkpoint alone. Write its weights to "
            "HDF5 by bilm-tf's bin/dump_weights.py, and give that file by --weights."
        )
    if find_name(files, "*options*.json") is not None:
        return (
            f"{files.path} has options ({', '.join(files.names[:3])}), but not the HDF5 "
            "file that belongs to them. Give it by --weights."
        )
    return (
        f"{files.path} ({', '.join(files.names[:3]) or 'empty'}) holds no ELMo model that "
        f"can be read: it must be {_ACCEPTED}."
    )


def _read_words(
    files: SourceFiles, vocab: Optional[Path], *patterns: str
) -> Optional[WordList]:
    name = find_name(files, *patterns) if vocab is None else absolute_name(vocab)
    if name is None:
        return None
    shown = full_name(files, name)
    return WordList(read_vocabulary(read_bytes(files, name), shown), shown)


def _publish_words(
    checkpoint: Checkpoint, vocab: Optional[Path], token_embeddings: Path
) -> None:
    """Let the model start with vectors of words that were computed before."""
    if vocab is None:
        raise ValueError(
            f"{token_embeddings} does not say whose vectors it holds. Give the "
            "vocabulary file that it was made with by --vocab."
        )
    words = read_vocabulary(vocab.read_bytes(), str(vocab))
    shape = (len(words), checkpoint.settings["projection_dim"])
    source = open_source(token_embeddings)
    with source.open(token_embeddings.name) as handle:
        with open_hdf5(handle, str(token_embeddings)) as file:
            vectors = read_dataset(
                file, "embedding", shape, str(token_embeddings), described_by=str(vocab)
            )
    rows = {word: row for row, word in enumerate(words)}
    checkpoint.extra["published_words"] = list(rows)
    checkpoint.extra_tensors["published_vectors"] = vectors[list(rows.values())]
