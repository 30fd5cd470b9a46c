"""Products of rows with a matrix that is prepared once and used many times.

A recurrence multiplies few rows with one large matrix, step after step. What that takes
depends on how the matrix lies in memory, and on the type of its numbers. Nothing here
keeps a gradient.
"""

import functools
from typing import Callable, Literal, Optional, Protocol, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .processor import is_foreign_to_mkl, multiplies_bfloat16, multiplies_int8

# Type of the numbers that are multiplied in prediction.
Precision = Literal["fp32", "bf16", "int8"]

# Elements of a matrix from which on Intel's library, too, is slower than oneDNN.
_LARGE = 2**22
# Rows are numbers from 0 to 255, 128 being zero: processors multiply those by signed ones.
_ZERO, _LARGEST = 128, 127
_TINY = torch.finfo(torch.float32).tiny


class Product(Protocol):
    """Multiplies rows with a matrix."""

    def __call__(self, rows: Tensor) -> Tensor:
        """Return the products, with the bias; their type may be another one.

        rows (Tensor): *Shape:* `(n_rows, n_inputs)`
        RETURNS (Tensor): *Shape:* `(n_rows, n_outputs)`
        """

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """Return the products added to what another one's `__call__` returned.

        Only of a product without a bias.

        total (Tensor): It may be overwritten. *Shape:* `(n_rows, n_outputs)`
        rows (Tensor): *Shape:* `(n_rows, n_inputs)`
        RETURNS (Tensor): The sum, in the type of the rows.
        """


class TransposedProduct:
    """The product as torch computes it anywhere, the matrix turned over once.

    weight (Tensor): *Shape:* `(n_outputs, n_inputs)`
    bias (Optional[Tensor]): *Shape:* `(n_outputs,)`
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor] = None) -> None:
        self.has_bias = bias is not None
        if bias is not None:
            weight = torch.cat([weight, bias.unsqueeze(1)], dim=1)
        self.weight = weight.detach().t().contiguous()

    def __call__(self, rows: Tensor) -> Tensor:
        """See `Product`."""
        if self.has_bias:
            # The bias as one more row of the matrix: else it is first copied to all rows.
            rows = F.pad(rows, (0, 1), value=1.0)
        return torch.mm(rows, self.weight)

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """See `Product`."""
        return total.addmm_(rows, self.weight)


class PackedProduct:
    """The product by oneDNN, the matrix packed as this processor wants it.

    weight (Tensor): *Shape:* `(n_outputs, n_inputs)`
    bias (Optional[Tensor]): *Shape:* `(n_outputs,)`
    dtype (torch.dtype): Type of the numbers multiplied, float32 or bfloat16.
    """

    def __init__(
        self, weight: Tensor, bias: Optional[Tensor] = None, *, dtype: torch.dtype
    ) -> None:
        self.dtype = dtype
        self.weight = torch.ops.mkldnn._reorder_linear_weight(
            weight.detach().to(dtype).contiguous()
        )
        self.bias = None if bias is None else bias.detach().to(dtype)

    def __call__(self, rows: Tensor) -> Tensor:
        """See `Product`."""
        rows = rows.to(self.dtype).contiguous()
        return torch.ops.mkldnn._linear_pointwise(
            rows, self.weight, self.bias, "none", [], ""
        )

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """See `Product`."""
        added = torch.ops.mkldnn._linear_pointwise.binary(
            rows.to(self.dtype).contiguous(), total, self.weight, None, "add"
        )
        return added.to(rows.dtype)


class QuantizedProduct:
    """The product of small integers: a scale for each row of the matrix, and of the input.

    A row's result depends on itself alone, as it does in float32.

    weight (Tensor): *Shape:* `(n_outputs, n_inputs)`
    bias (Optional[Tensor]): *Shape:* `(n_outputs,)`
    """

    def __init__(self, weight: Tensor, bias: Optional[Tensor] = None) -> None:
        weight = weight.detach()
        self.scales = _row_scales(weight)
        integers = (weight / self.scales).round_().to(torch.int8)
        self.weight = torch.ops.onednn.qlinear_prepack(integers, None)
        self.scales = self.scales.flatten()
        self.zeros = torch.zeros(len(weight), dtype=torch.int64)
        self.bias = None if bias is None else bias.detach()

    def __call__(self, rows: Tensor) -> Tensor:
        """See `Product`."""
        products, scales = self._multiply(rows)
        if self.bias is None:
            return products.mul_(scales)
        return torch.addcmul(self.bias, products, scales)

    def add_to(self, total: Tensor, rows: Tensor) -> Tensor:
        """See `Product`."""
        return total.addcmul_(*self._multiply(rows))

    def _multiply(self, rows: Tensor) -> Tuple[Tensor, Tensor]:
        scales = _row_scales(rows)
        integers = (rows / scales).round_().add_(_ZERO).to(torch.uint8)
        products = torch.ops.onednn.qlinear_pointwise(
            integers, 1.0, _ZERO, self.weight, self.scales, self.zeros,
            None, 1.0, 0, torch.float32, "none", [], "",
        )  # fmt: skip
        return products, scales


def create_product(
    weight: Tensor, bias: Optional[Tensor] = None, *, precision: Precision = "fp32"
) -> Product:
    """Prepare a matrix for many products.

    weight (Tensor): *Shape:* `(n_outputs, n_inputs)`
    bias (Optional[Tensor]): *Shape:* `(n_outputs,)`
    precision (str): Type of the numbers multiplied, one that `usable_precision` returned.
    RETURNS (Product): The fastest form that this processor has, always the same one.
    """
    if weight.device.type != "cpu" or weight.dtype != torch.float32:
        return TransposedProduct(weight, bias)
    if precision == "int8":
        return QuantizedProduct(weight, bias)
    if precision == "bf16":
        return PackedProduct(weight, bias, dtype=torch.bfloat16)
    packs = is_foreign_to_mkl() or weight.numel() >= _LARGE
    if packs and can_pack(torch.float32):
        return PackedProduct(weight, bias, dtype=torch.float32)
    return TransposedProduct(weight, bias)


def usable_precision(precision: Precision, device: torch.device) -> Precision:
    """Return the precision asked for where it saves time, and else `"fp32"`.

    precision (str): What is asked for.
    device (torch.device): What computes.
    RETURNS (str): What to use.
    """
    on_cpu = device.type == "cpu"
    if precision == "bf16" and on_cpu:
        if multiplies_bfloat16(device) and can_pack(torch.bfloat16):
            return precision
    if precision == "int8" and on_cpu and multiplies_int8() and can_quantize():
        return precision
    return "fp32"


def multiplies_by_products(module: nn.Module, precision: Precision) -> bool:
    """Return whether a layer that is exact otherwise has to compute in another precision.

    module (nn.Module): The layer.
    precision (str): Its precision.
    """
    predicts = not (module.training or torch.is_grad_enabled())
    return precision != "fp32" and predicts


@functools.lru_cache(maxsize=None)
def can_pack(dtype: torch.dtype) -> bool:
    """Return whether oneDNN's packed products work here: torch has no public name for them.

    dtype (torch.dtype): Type of the numbers multiplied.
    """
    return _agrees(functools.partial(PackedProduct, dtype=dtype))


@functools.lru_cache(maxsize=None)
def can_quantize() -> bool:
    """Return whether products of small integers work here."""
    return _agrees(QuantizedProduct)


def _agrees(kind: Callable[[Tensor, Optional[Tensor]], Product]) -> bool:
    """Try a kind of product on small numbers that each type holds exactly."""
    rows = torch.tensor([[1.0, -1.0, 127.0], [0.0, 64.0, 127.0]])
    weight = torch.tensor([[127.0, 1.0, 0.0], [-127.0, 3.0, 2.0]])
    bias = torch.tensor([1.0, -2.0])
    expected = F.linear(rows, weight, bias)
    try:
        product = kind(weight, bias)
        first = product(rows)
        second = kind(weight, None).add_to(first.clone(), rows)
    # Ops that are not there, and processors they do not run on.
    except (RuntimeError, AttributeError):
        return False
    expected_sum = expected + F.linear(rows, weight)
    close = functools.partial(torch.allclose, rtol=1e-2, atol=1e-2)
    return close(first.float(), expected) and close(second.float(), expected_sum)


def _row_scales(rows: Tensor) -> Tensor:
    """Return what makes each row's largest number 127. *Shape:* `(n_rows, 1)`"""
    return rows.abs().amax(dim=1, keepdim=True).div_(_LARGEST).clamp_(min=_TINY)
