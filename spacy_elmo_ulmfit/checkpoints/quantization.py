"""Matrices as whole numbers of one byte each, with a scale for each row."""

from pathlib import Path
from typing import Dict, Iterable, NamedTuple, Optional, Tuple, Union

import torch
from torch import Tensor

# How a file's header calls this encoding.
INT8_ROWS = "int8_rows"
_SCALES_PREFIX = "scales."
# Small matrices are a small part of a file. A row has four bytes for its scale, so short
# rows would need about as much as in half precision.
_LEAST_ELEMENTS, _LEAST_ROW = 1024, 8
_LARGEST = 127
# Products of a scale with 17 significant bits and a number of 7 bits are exact in
# float32, and so is what their largest is divided by 127.
_SCALE_BITS = ~0x7F
_LEAST_SCALE = torch.finfo(torch.float32).tiny


class QuantizedMatrix(NamedTuple):
    """A matrix as whole numbers.

    values (Tensor): Numbers from -127 to 127, of type int8, in the matrix's shape.
    scales (Tensor): What the numbers of a row are multiplied with, float32, positive.
        *Shape:* `(n_rows,)`
    """

    values: Tensor
    scales: Tensor


def is_worth_quantizing(tensor: Tensor) -> bool:
    """Return whether whole numbers save enough room.

    tensor (Tensor): Weights of any shape.
    RETURNS (bool): True for large matrices, a convolution's filters among them.
    """
    return (
        tensor.is_floating_point()
        and tensor.dim() >= 2
        and tensor.numel() >= _LEAST_ELEMENTS
        and tensor[0].numel() >= _LEAST_ROW
    )


def quantize_rows(matrix: Tensor) -> QuantizedMatrix:
    """Round a matrix, row by row, to 255 numbers around zero.

    What was restored from such numbers gives the same numbers and scales again.

    matrix (Tensor): Finite weights; a row is what belongs to one index of the first
        dimension. *Shape:* `(n_rows, ...)`
    RETURNS (QuantizedMatrix): Numbers times scales are within half a scale of the weights.
    """
    rows = matrix.float().flatten(1)
    steps = rows.abs().amax(dim=1) / _LARGEST
    scales = (steps.view(torch.int32) & _SCALE_BITS).view(torch.float32)
    # Rows of zeros need a scale as well, and denormal ones would not be exact.
    scales = scales.clamp(min=_LEAST_SCALE)
    values = (rows / scales[:, None]).round_().to(torch.int8)
    return QuantizedMatrix(values.view(matrix.shape), scales)


def dequantize_rows(quantized: QuantizedMatrix) -> Tensor:
    """Return the weights that whole numbers stand for.

    quantized (QuantizedMatrix): The numbers and the scales of their rows.
    RETURNS (Tensor): The weights, float32, in the shape of the numbers.
    """
    values, scales = quantized
    return values.float() * scales.view(-1, *[1] * (values.dim() - 1))


def quantize(
    tensors: Dict[str, Tensor], names: Iterable[str]
) -> Tuple[Dict[str, Tensor], Dict[str, str]]:
    """Store some of a model's tensors as whole numbers.

    tensors (Dict[str, Tensor]): All tensors of a file by name.
    names (Iterable[str]): Names of the matrices to store in this way.
    RETURNS (Tuple[Dict[str, Tensor], Dict[str, str]]): The tensors with the scales beside
        them, and the encodings by the names of those that have one.
    RAISES (ValueError): If a weight is not finite, naming the tensor.
    """
    stored, encodings = dict(tensors), {}
    for name in names:
        quantized = quantize_rows(tensors[name])
        if not torch.isfinite(quantized.scales).all():
            raise ValueError(
                f'{name} has values that are not finite, which storage = "int8" cannot '
                "hold. Training went wrong before: go on from earlier weights, at a lower "
                "rate."
            )
        stored[name], stored[_SCALES_PREFIX + name] = quantized
        encodings[name] = INT8_ROWS
    return stored, encodings


def dequantize(
    stored: Dict[str, Tensor], encodings: Dict[str, str], *, source: Union[str, Path]
) -> Dict[str, Tensor]:
    """Restore what `quantize` stored.

    stored (Dict[str, Tensor]): All tensors of a file by name.
    encodings (Dict[str, str]): Encodings by the names of the tensors that have one.
    source (Union[str, Path]): The file, for error messages.
    RETURNS (Dict[str, Tensor]): The tensors, those with an encoding as float32.
    RAISES (ValueError): If an encoding is unknown, or a tensor and its scales do not fit.
    """
    tensors = dict(stored)
    for name, encoding in encodings.items():
        if encoding != INT8_ROWS:
            raise ValueError(
                f"{source} stores {name} as {encoding!r}: it was written by a later version "
                "of spacy-elmo-ulmfit. Update the package, or write the pipeline there "
                'with storage = "float16".'
            )
        matrix = stored.get(name), tensors.pop(_SCALES_PREFIX + name, None)
        try:
            tensors[name] = dequantize_rows(_checked(*matrix))
        except ValueError as error:
            raise _damaged(source, name, str(error)) from error
    for name in tensors:
        if name.startswith(_SCALES_PREFIX):
            problem = "has scales, but the header names no encoding"
            raise _damaged(source, name[len(_SCALES_PREFIX) :], problem)
    return tensors


def _checked(values: Optional[Tensor], scales: Optional[Tensor]) -> QuantizedMatrix:
    """Make sure that a file's numbers and scales are a matrix."""
    if values is None:
        raise ValueError("is missing, though the header names its encoding")
    if values.dtype != torch.int8 or values.dim() < 2:
        found = f"{values.dtype}, shape {tuple(values.shape)}"
        raise ValueError(f"is no matrix of int8 ({found})")
    if scales is None:
        raise ValueError("has no scales")
    if scales.dtype != torch.float32 or scales.shape != values.shape[:1]:
        found = f"{scales.dtype}, shape {tuple(scales.shape)}"
        raise ValueError(
            f"has scales of another type or shape ({found}) than torch.float32, shape "
            f"({len(values)},)"
        )
    if not (torch.isfinite(scales) & (scales > 0)).all():
        raise ValueError("has scales that are not finite numbers above 0")
    return QuantizedMatrix(values, scales)


def _damaged(source: Union[str, Path], name: str, problem: str) -> ValueError:
    return ValueError(
        f"{source} is damaged: {name} {problem}. Copy the file again, or write the "
        "pipeline again with nlp.to_disk."
    )
