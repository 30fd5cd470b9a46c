"""Files of vectors: written as documents come, read back in their order."""

from pathlib import Path
from typing import Iterable, Iterator, Union

from spacy.tokens import Doc
from spacy.util import ensure_path

from ..replacing import replacing
from .docbin import read_docbin, write_docbin
from .hdf5 import read_hdf5, require_h5py, write_hdf5
from .settings import TokenVectors, VectorSettings

HDF5_SUFFIXES = (".hdf5", ".h5")
DOCBIN_SUFFIXES = (".spacy",)


def check_output(path: Union[str, Path]) -> None:
    """Make sure that vectors can be written to a file, before any is computed.

    path (Union[str, Path]): The file.
    RAISES (ValueError): If its suffix is unknown, it is a directory, or a package is
        missing.
    """
    path = ensure_path(path)
    if _is_hdf5(path):
        require_h5py()
    if path.is_dir():
        raise ValueError(f"{path} is a directory. Name a file to write to.")


def write_vectors(
    path: Union[str, Path], docs: Iterable[Doc], settings: VectorSettings
) -> None:
    """Write the vectors of documents, under a temporary name until all are there.

    path (Union[str, Path]): The file; its suffix says the format: `.hdf5` or `.h5`,
        or `.spacy`.
    docs (Iterable[Doc]): Documents that the component has read. A `.spacy` file is
        gathered in memory, an HDF5 file is not.
    settings (VectorSettings): What is written of them.
    RAISES (ValueError): If the suffix is unknown, or a package is missing.
    """
    path = ensure_path(path)
    check_output(path)
    with replacing(path) as temporary:
        if _is_hdf5(path):
            write_hdf5(temporary, docs, settings)
        else:
            write_docbin(temporary, docs, settings)


def read_vectors(path: Union[str, Path]) -> Iterator[TokenVectors]:
    """Read the vectors that `lm embed` wrote, document by document.

    path (Union[str, Path]): An `.hdf5`, `.h5` or `.spacy` file.
    YIELDS (Tuple[List[str], NDArray]): A document's tokens, and their vectors as they
        were stored: `(n_tokens, width)`, or with all layers
        `(n_layers, n_tokens, width)`.
    RAISES (ValueError): If the file is missing, damaged, or something else.
    """
    path = ensure_path(path)
    is_hdf5 = _is_hdf5(path)
    if not path.exists():
        raise ValueError(f"There is no file of vectors {path}. Correct the path.")
    return read_hdf5(path) if is_hdf5 else read_docbin(path)


def _is_hdf5(path: Path) -> bool:
    known = HDF5_SUFFIXES + DOCBIN_SUFFIXES
    if path.suffix not in known:
        raise ValueError(
            f"The name of a file of vectors says its format: {path} must end in "
            f"{', '.join(known[:-1])} or {known[-1]}."
        )
    return path.suffix in HDF5_SUFFIXES
