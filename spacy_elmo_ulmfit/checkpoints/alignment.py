"""Matrices that map the vectors of one language into those of another.

Schuster et al. 2019 (arXiv:1902.09492) publish one for each language's biLM.
"""

from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from .files import check_start
from .pickles import load_weights


def read_alignment(path: Path) -> Tensor:
    """Read an alignment matrix.

    path (Path): A `.npy` file, or a file of `torch.save` that holds a tensor or a
        NumPy array, as the published ones do.
    RETURNS (Tensor): The matrix, float32. *Shape:* `(width, width)`
    RAISES (ValueError): If it is not there, damaged, holds anything else, or is not
        square.
    """
    if not path.is_file():
        raise ValueError(f"There is no alignment file {path}. Correct the path.")
    with path.open("rb") as file:
        check_start(file, str(path))
        value: Any = None
        if path.suffix == ".npy":
            try:
                value = numpy.load(file, allow_pickle=False)
            except ValueError as error:
                raise ValueError(
                    f"{path} is no readable array ({error}). Save the matrix by "
                    "numpy.save(PATH, matrix)."
                ) from error
        else:
            with torch.serialization.safe_globals(_array_parts()):
                value = load_weights(file, str(path))
    matrix = (
        torch.as_tensor(value) if isinstance(value, (Tensor, numpy.ndarray)) else None
    )
    if matrix is None or matrix.dim() != 2 or matrix.shape[0] != matrix.shape[1]:
        found = type(value).__name__ if matrix is None else str(tuple(matrix.shape))
        raise ValueError(
            f"{path} must hold one square matrix, but it holds {found}. Save the matrix "
            "by numpy.save(PATH, matrix)."
        )
    return matrix.float()


def _array_parts() -> list:
    """What a pickled array consists of, under its old and new names; all of it data."""
    reconstruct = numpy.empty(0).__reduce__()[0]
    return [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        (reconstruct, "numpy._core.multiarray._reconstruct"),
        numpy.ndarray,
        numpy.dtype,
        *(type(numpy.dtype(name)) for name in ("float32", "float64")),
        (_encode, "_codecs.encode"),
    ]


def _encode(text: str, encoding: str) -> bytes:
    """Turn text to bytes, which is how old pickles hold an array's data."""
    if encoding != "latin1":
        raise ValueError(f"unexpected encoding {encoding!r}")
    return text.encode(encoding)
