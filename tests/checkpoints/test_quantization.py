import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from spacy_elmo_ulmfit.checkpoints.quantization import (
    QuantizedMatrix,
    dequantize,
    dequantize_rows,
    is_worth_quantizing,
    quantize,
    quantize_rows,
)

TINY, HUGE = numpy.finfo("float32").tiny, numpy.finfo("float32").max
# Every float32: zeros of both signs, denormals, the largest.
matrices = arrays.arrays(
    numpy.float32,
    arrays.array_shapes(min_dims=2, max_dims=4, min_side=1, max_side=6),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
).map(torch.from_numpy)


@given(matrices)
def test_no_weight_moves_by_more_than_half_a_step(matrix):
    quantized = quantize_rows(matrix)
    restored = dequantize_rows(quantized)
    assert restored.shape == quantized.values.shape == matrix.shape
    error = (restored.double() - matrix.double()).abs().flatten(1)
    # The quotient is rounded too, in float32.
    assert (error <= 0.50001 * quantized.scales.double()[:, None]).all()
    assert quantized.values.abs().max() <= 127


@given(matrices)
def test_what_was_restored_is_quantized_as_before(matrix):
    first = quantize_rows(matrix)
    restored = dequantize_rows(first)
    second = quantize_rows(restored)
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.scales, second.scales)
    assert torch.equal(dequantize_rows(second), restored)


def test_ordinary_weights_do_not_drift():
    largest = torch.rand(100_000, 1, generator=torch.manual_seed(0)) + 0.01
    first = quantize_rows(largest * torch.tensor([[1.0, -0.7, 0.1]]))
    second = quantize_rows(dequantize_rows(first))
    assert torch.equal(first.scales, second.scales)
    assert torch.equal(first.values, second.values)


@pytest.mark.parametrize(
    "row",
    [[0.0, -0.0], [1e-45, 0.0], [TINY, -TINY], [HUGE, -HUGE], [HUGE, 1e-45]],
    ids=str,
)
def test_extreme_rows_stay_finite(row):
    quantized = quantize_rows(torch.tensor([row]))
    restored = dequantize_rows(quantized)
    assert torch.isfinite(restored).all() and (quantized.scales >= TINY).all()
    numpy.testing.assert_allclose(restored, [row], rtol=0.5 / 127, atol=TINY / 2)


def test_a_row_has_a_scale_of_its_own():
    """Filters of a convolution are rows, too."""
    filters = torch.randn(3, 4, 5) * torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    restored = dequantize_rows(quantize_rows(filters))
    for row, expected in zip(restored, filters):
        assert (row - expected).abs().max() < 0.005 * expected.abs().max()


@pytest.mark.parametrize(
    "shape, expected",
    [
        ((64, 16), True),
        ((32, 16, 3), True),
        ((1, 4096), True),
        ((4096,), False),
        ((31, 33), False),
        ((4096, 4), False),
        ((0, 4096), False),
    ],
)
def test_only_large_matrices_are_worth_it(shape, expected):
    assert is_worth_quantizing(torch.zeros(shape)) is expected
    assert not is_worth_quantizing(torch.zeros(shape, dtype=torch.long))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_weights_that_are_not_finite_are_refused_by_name(value):
    tensors = {"good": torch.ones(2, 2), "layers.0.bad": torch.ones(2, 2)}
    tensors["layers.0.bad"][1, 0] = value
    with pytest.raises(ValueError, match=r"layers\.0\.bad has values that are not fin"):
        quantize(tensors, list(tensors))


def without_scales(stored):
    del stored["scales.w"]


def without_values(stored):
    del stored["w"]


def one_scale(stored):
    stored["scales.w"] = stored["scales.w"][:1]


def a_column_of_scales(stored):
    stored["scales.w"] = stored["scales.w"][:, None]


def rounded_scales(stored):
    stored["scales.w"] = stored["scales.w"].half()


def infinite_scale(stored):
    stored["scales.w"][1] = float("inf")


def nan_scale(stored):
    stored["scales.w"][0] = float("nan")


def negative_scale(stored):
    stored["scales.w"][0] *= -1


def not_quantized(stored):
    stored["w"] = stored["w"].float()


def a_vector(stored):
    stored["w"] = stored["w"].flatten()


def other_scales(stored):
    stored["scales.v"] = stored["scales.w"]


@pytest.mark.parametrize(
    "damage, problem",
    [
        (without_scales, "w has no scales"),
        (without_values, "w is missing"),
        (one_scale, r"w has scales of another .*\(1,\)\) than .*\(3,\)"),
        (a_column_of_scales, r"w has scales of another .*\(3, 1\)"),
        (rounded_scales, "w has scales of another .*float16"),
        (infinite_scale, "w has scales that are not finite"),
        (nan_scale, "w has scales that are not finite"),
        (negative_scale, "w has scales that are not finite numbers above 0"),
        (not_quantized, "w is no matrix of int8 .*float32"),
        (a_vector, "w is no matrix of int8"),
        (other_scales, "v has scales, but the header"),
    ],
)
def test_damaged_files_are_refused_with_file_tensor_and_fix(damage, problem):
    stored, encodings = quantize({"w": torch.randn(3, 5)}, ["w"])
    damage(stored)
    message = f"lm.safetensors is damaged: {problem}.*Copy the file again"
    with pytest.raises(ValueError, match=message):
        dequantize(stored, encodings, source="lm.safetensors")


def test_an_encoding_of_a_later_version_is_refused_by_name():
    stored, _ = quantize({"w": torch.randn(3, 5)}, ["w"])
    with pytest.raises(ValueError, match="lm.safetensors stores w as 'int4'.*later"):
        dequantize(stored, {"w": "int4"}, source="lm.safetensors")


def test_other_tensors_are_left_alone():
    others = {"bias": torch.randn(3), "pieces": torch.arange(9, dtype=torch.uint8)}
    stored, encodings = quantize({"w": torch.randn(3, 5), **others}, ["w"])
    assert stored["w"].dtype == torch.int8 and list(encodings) == ["w"]
    restored = dequantize(stored, encodings, source="lm")
    expected = dequantize_rows(QuantizedMatrix(stored["w"], stored["scales.w"]))
    assert restored.keys() == {"w", *others}
    assert torch.equal(restored["w"], expected)
    for name, tensor in others.items():
        assert restored[name] is tensor
