"""HDF5 files: the optional package, and errors that say what is wrong."""

import contextlib
from typing import Any, BinaryIO, Iterator, List, Tuple

import numpy
import torch
from torch import Tensor

from .files import check_start


def import_h5py() -> Any:
    """Import h5py, or say how to install it."""
    try:
        import h5py
    except ImportError as error:
        raise ValueError(
            "HDF5 files need the package h5py: pip install 'spacy-elmo-ulmfit[hdf5]'."
        ) from error
    return h5py


@contextlib.contextmanager
def open_hdf5(file: BinaryIO, name: str) -> Iterator[Any]:
    """Open an HDF5 file for reading.

    file (BinaryIO): The file.
    name (str): Its name, for error messages.
    YIELDS (h5py.File): The file.
    RAISES (ValueError): If it is damaged, or no HDF5 file.
    """
    h5py = import_h5py()
    check_start(file, name)
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except (OSError, RuntimeError, KeyError) as error:
        raise ValueError(
            f"{name} is no readable HDF5 file ({error}). Was it copied completely?"
        ) from error


def dataset_names(file: Any) -> List[str]:
    """Return the paths of all datasets in an HDF5 file."""
    h5py = import_h5py()
    names: List[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    file.visititems(visit)
    return names


def read_dataset(
    file: Any, dataset: str, shape: Tuple[int, ...], name: str, *, described_by: str
) -> Tensor:
    """Read a dataset of a known shape.

    file (h5py.File): The file.
    dataset (str): Path of the dataset.
    shape (Tuple[int, ...]): Its shape; -1 for any size.
    name (str): Name of the file, for error messages.
    described_by (str): Name of the file that the shape follows from.
    RETURNS (Tensor): The array, float32.
    RAISES (ValueError): If it is not there, or has another shape.
    """
    if not isinstance(file.get(dataset), import_h5py().Dataset):
        raise ValueError(
            f"{name} lacks the dataset {dataset}, which {described_by} asks for. Do the "
            "two files belong together?"
        )
    found = tuple(file[dataset].shape)
    if len(found) != len(shape) or any(
        size not in (-1, other) for size, other in zip(shape, found)
    ):
        raise ValueError(
            f"{name}: the dataset {dataset} has the shape {found}, but {described_by} "
            f"means {shape}. Do the two files belong together?"
        )
    if file[dataset].dtype.kind not in "fiu":
        raise ValueError(
            f"{name}: the dataset {dataset} holds no numbers, but "
            f"{file[dataset].dtype}. Get the file from where it was published."
        )
    return torch.from_numpy(numpy.asarray(file[dataset][...], dtype=numpy.float32))
