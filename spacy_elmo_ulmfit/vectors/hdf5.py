"""Vectors in HDF5: a dataset per document, numbered from 0, as AllenNLP's `elmo` wrote."""

from pathlib import Path
from typing import Any, Iterable, Iterator

from spacy.tokens import Doc

from .settings import FORMAT_VERSION, TokenVectors, VectorSettings

TOKENS = "tokens"


def require_h5py() -> Any:
    """Import h5py, or say how to install it."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError(
            "HDF5 files need h5py: pip install 'spacy-elmo-ulmfit[hdf5]', or write a "
            ".spacy file."
        ) from error
    return h5py


def write_hdf5(path: Path, docs: Iterable[Doc], settings: VectorSettings) -> None:
    """Write vectors as datasets `0`, `1`, ..., and tokens as `tokens/0`, `tokens/1`, ...

    path (Path): The file.
    docs (Iterable[Doc]): Documents that the component has read.
    settings (VectorSettings): What is written of them, and the file's attributes.
    """
    h5py = require_h5py()
    n_docs = 0
    with h5py.File(path, "w") as file:
        file.attrs.update(settings.attributes())
        tokens = file.create_group(TOKENS)
        for doc in docs:
            file.create_dataset(str(n_docs), data=settings.vectors(doc))
            # HDF5's strings end at a NUL.
            words = [
                token.text.replace("\0", "\N{REPLACEMENT CHARACTER}") for token in doc
            ]
            tokens.create_dataset(str(n_docs), data=words, dtype=h5py.string_dtype())
            n_docs += 1
        file.attrs["n_documents"] = n_docs


def read_hdf5(path: Path) -> Iterator[TokenVectors]:
    """Read what `write_hdf5` wrote, one document at a time.

    path (Path): The file.
    YIELDS (Tuple[List[str], NDArray]): Tokens and vectors of each document.
    RAISES (ValueError): If the file is damaged, or something else.
    """
    h5py = require_h5py()
    try:
        with h5py.File(path, "r") as file:
            if file.attrs.get("format_version") != FORMAT_VERSION:
                raise ValueError(
                    f"{path} was not written by this version of 'spacy lm embed': its "
                    f"format_version is {file.attrs.get('format_version')}, not "
                    f"{FORMAT_VERSION}."
                )
            for number in range(file.attrs["n_documents"]):
                words = file[TOKENS][str(number)].asstr()[()]
                yield list(words), file[str(number)][()]
    except (OSError, KeyError) as error:
        raise ValueError(
            f"{path} is damaged or no HDF5 file, perhaps copied only in part: {error}. "
            "Write or copy it again."
        ) from error
