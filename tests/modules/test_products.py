import copy
import pickle
from unittest import mock

import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules import products
from spacy_elmo_ulmfit.modules.awd_lstm import AWDLSTM, AWDLSTMConfig
from spacy_elmo_ulmfit.modules.packing import PackedLayout
from spacy_elmo_ulmfit.modules.products import (
    PackedProduct,
    QuantizedProduct,
    TransposedProduct,
    can_pack,
    can_quantize,
    create_product,
    usable_precision,
)
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM
from spacy_elmo_ulmfit.modules.qrnn import QRNNLayer
from spacy_elmo_ulmfit.modules.weight_drop_lstm import WeightDropLSTM

needs_packing = pytest.mark.skipif(
    not can_pack(torch.float32), reason="This torch has no packed products"
)
needs_integers = pytest.mark.skipif(
    not can_quantize(), reason="This torch has no products of integers"
)
EXACT = [
    TransposedProduct,
    pytest.param(
        lambda *args: PackedProduct(*args, dtype=torch.float32), marks=needs_packing
    ),
]
NEAR = [
    pytest.param(
        lambda *args: PackedProduct(*args, dtype=torch.bfloat16), marks=needs_packing
    ),
    pytest.param(QuantizedProduct, marks=needs_integers),
]


def matrices(n_rows=5):
    torch.manual_seed(0)
    return torch.randn(n_rows, 24), torch.randn(40, 24), torch.randn(40)


@pytest.mark.parametrize("kind", EXACT)
@pytest.mark.parametrize("n_rows", [1, 5, 64])
def test_exact_products_are_those_of_torch(kind, n_rows):
    rows, weight, bias = matrices(n_rows)
    expected = F.linear(rows, weight, bias)
    torch.testing.assert_close(kind(weight, bias)(rows), expected)
    torch.testing.assert_close(kind(weight)(rows), F.linear(rows, weight))
    torch.testing.assert_close(
        kind(weight).add_to(expected.clone(), rows), expected + F.linear(rows, weight)
    )


@pytest.mark.parametrize("kind", NEAR)
def test_other_products_are_near(kind):
    rows, weight, bias = matrices()
    expected, product = F.linear(rows, weight, bias), kind(weight, bias)
    total = kind(weight).add_to(product(rows), rows)
    for found, exact in (
        (product(rows).float(), expected),
        (total, expected + F.linear(rows, weight)),
    ):
        assert F.cosine_similarity(found, exact).min() > 0.999
    assert total.dtype == rows.dtype


@needs_integers
def test_a_row_of_integers_depends_on_itself_alone():
    rows, weight, bias = matrices()
    rows[0] *= 1000
    product = QuantizedProduct(weight, bias)
    together = product(rows)
    for number, row in enumerate(rows):
        assert torch.equal(product(row.unsqueeze(0))[0], together[number])


@needs_integers
def test_rows_of_zeros_stay_zeros():
    product = QuantizedProduct(torch.zeros(3, 4))
    assert torch.equal(product(torch.zeros(2, 4)), torch.zeros(2, 3))
    assert torch.equal(product(torch.ones(2, 4)), torch.zeros(2, 3))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
def test_double_precision_is_never_given_up(precision):
    rows, weight, bias = (tensor.double() for tensor in matrices())
    found = create_product(weight, bias, precision=precision)(rows)
    torch.testing.assert_close(found, F.linear(rows, weight, bias))


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_what_the_processor_cannot_multiply_is_not_used(precision):
    cpu = torch.device("cpu")
    with mock.patch.object(products, "multiplies_bfloat16", lambda device: False):
        with mock.patch.object(products, "multiplies_int8", lambda: False):
            assert usable_precision(precision, cpu) == "fp32"
    with mock.patch.object(products, "multiplies_bfloat16", lambda device: True):
        with mock.patch.object(products, "multiplies_int8", lambda: True):
            works = can_quantize() if precision == "int8" else can_pack(torch.bfloat16)
            expected = precision if works else "fp32"
            assert usable_precision(precision, cpu) == expected


def test_ops_that_a_version_of_torch_lacks_are_not_used():
    with mock.patch.object(
        torch.ops.mkldnn, "_reorder_linear_weight", side_effect=RuntimeError
    ):
        assert not can_pack.__wrapped__(torch.float32)


LAYERS = {
    "projected": lambda: ProjectedLSTM(16, 32, 16),
    "lstm": lambda: WeightDropLSTM(16, 16).eval(),
    "qrnn": lambda: QRNNLayer(16, 16).eval(),
    "qrnn of two words": lambda: QRNNLayer(16, 16, window=2).eval(),
}


@pytest.fixture(params=["fp32", "bf16", "int8"])
def precision(request):
    if request.param == "bf16" and not can_pack(torch.bfloat16):
        pytest.skip("This torch has no packed products")
    if request.param == "int8" and not can_quantize():
        pytest.skip("This torch has no products of integers")
    return request.param


@pytest.fixture(params=sorted(LAYERS))
def layer(request, precision):
    torch.manual_seed(0)
    layer = LAYERS[request.param]()
    layer.precision = precision
    return layer


def run(layer, lengths=(5, 3, 3)):
    torch.manual_seed(1)
    if isinstance(layer, ProjectedLSTM):
        inputs = torch.randn(sum(lengths), 16)
        state = torch.zeros(len(lengths), 16), torch.zeros(len(lengths), 32)
        sizes = PackedLayout.from_lengths(lengths).batch_sizes
        return layer(inputs, sizes, state)[0]
    inputs = torch.randn(len(lengths), max(lengths), 16)
    state = [torch.zeros(1, len(lengths), width) for width in layer.state_widths]
    return layer.run(inputs, tuple(state), 0.0)[0]


def test_prediction_is_near_what_training_computes(layer):
    expected = run(layer).detach()
    with torch.no_grad():
        found = run(layer)
    tolerance = 1e-5 if layer.precision == "fp32" else 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)


@pytest.mark.parametrize("change", ["in place", "other storage", "fused optimizer"])
def test_changed_weights_are_seen(layer, change):
    with torch.no_grad():
        run(layer)
    if change == "fused optimizer":
        for parameter in layer.parameters():
            parameter.grad = torch.ones_like(parameter)
        torch.optim.AdamW(layer.parameters(), lr=0.1, fused=True).step()
    for parameter in layer.parameters():
        if change == "in place":
            with torch.no_grad():
                parameter.mul_(2)
        elif change == "other storage":
            parameter.data = parameter.data * 2
    with torch.no_grad():
        found = run(layer)
        assert torch.equal(found, run(copy.deepcopy(layer)))


def test_training_is_exact_in_any_precision(layer):
    expected = copy.deepcopy(layer)
    expected.precision = "fp32"
    assert torch.equal(run(layer.train()), run(expected.train()))


def test_windows_go_on_where_the_last_one_ended(precision):
    torch.manual_seed(0)
    model = AWDLSTM(AWDLSTMConfig(20, embedding_dim=16, hidden_dim=16)).eval()
    for layer in model.layers:
        layer.precision = precision
    ids = torch.randint(2, 20, (3, 12))
    with torch.no_grad():
        whole = model.encode(ids)
        first = model.encode(ids[:, :5])
        second = model.encode(ids[:, 5:], first.state)
    joined = torch.cat([first.output, second.output], dim=1)
    torch.testing.assert_close(joined, whole.output, rtol=0, atol=1e-6)
    for ends in zip(second.state, whole.state):
        for found, expected in zip(*ends):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_layers_can_be_copied_and_sent_to_other_processes(layer):
    with torch.no_grad():
        expected = run(layer)
        assert torch.equal(run(pickle.loads(pickle.dumps(layer))), expected)
        assert torch.equal(run(copy.deepcopy(layer)), expected)
