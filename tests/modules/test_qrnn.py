import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules.qrnn import QRNNLayer, linear_scan

CHUNKS = [1, 2, 3, 5, 7, None]


def scanned_one_by_one(decay, values, initial):
    last, outputs = initial, []
    for step in range(values.shape[1]):
        last = decay[:, step] * last + values[:, step]
        outputs.append(last)
    return torch.stack(outputs, dim=1)


def layer_one_by_one(layer, inputs, cell, last_input):
    """The layer's equations, one text and one step at a time."""
    width, outputs = layer.linear.out_features // 3, []
    for step in range(inputs.shape[1]):
        seen = inputs[:, step]
        if layer.window == 2:
            seen = torch.cat([seen, last_input], dim=1)
        last_input = inputs[:, step]
        gates = layer.linear(seen)
        z, f, o = (gates[:, i * width : (i + 1) * width] for i in range(3))
        cell = torch.sigmoid(f) * torch.tanh(z) + (1 - torch.sigmoid(f)) * cell
        outputs.append(torch.sigmoid(o) * cell)
    return torch.stack(outputs, dim=1), cell


def zeros(layer, batch):
    return tuple(torch.zeros(1, batch, width) for width in layer.state_widths)


@pytest.mark.parametrize("chunk_length", CHUNKS)
@pytest.mark.parametrize("n_steps", [1, 2, 5, 7, 12])
def test_scan_is_the_recurrence(chunk_length, n_steps):
    torch.manual_seed(0)
    decay, values = torch.rand(3, n_steps, 2), torch.randn(3, n_steps, 2)
    initial = torch.randn(3, 2)
    found = linear_scan(decay, values, initial, chunk_length)
    torch.testing.assert_close(found, scanned_one_by_one(decay, values, initial))


@pytest.mark.parametrize("chunk_length", CHUNKS)
def test_scan_has_the_right_gradients(chunk_length):
    torch.manual_seed(0)
    shapes = [(2, 7, 3), (2, 7, 3), (2, 3)]
    decay, values, initial = (
        torch.rand(shape, dtype=torch.float64, requires_grad=True) for shape in shapes
    )
    assert torch.autograd.gradcheck(
        lambda *tensors: linear_scan(*tensors, chunk_length),
        (decay, values, initial),
    )


@pytest.mark.parametrize("chunk_length", [70, None])
@pytest.mark.parametrize("strength", [0.0, 1e-30, 1e-3, 0.5, 0.999, 1.0])
def test_long_texts_and_extreme_decays_stay_exact(strength, chunk_length):
    torch.manual_seed(0)
    decay = torch.full((1, 5000, 2), strength, requires_grad=True)
    values, initial = torch.randn(1, 5000, 2), torch.randn(1, 2)
    found = linear_scan(decay, values, initial, chunk_length)
    expected = scanned_one_by_one(decay.double(), values.double(), initial.double())
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-3)
    (gradient,) = torch.autograd.grad(found.sum(), decay, retain_graph=True)
    (wanted,) = torch.autograd.grad(expected.sum(), decay)
    torch.testing.assert_close(gradient, wanted, rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("window", [1, 2])
def test_layer_is_its_equations_in_both_directions_of_time(window):
    torch.manual_seed(0)
    layer = QRNNLayer(3, 4, window=window)
    inputs = torch.randn(2, 6, 3, requires_grad=True)
    cell, last_input = torch.randn(2, 4), torch.randn(2, 3)
    state = (cell.unsqueeze(0), last_input.unsqueeze(0))[: len(layer.state_widths)]
    found, last = layer.run(inputs, state, 0.0)
    expected, last_cell = layer_one_by_one(layer, inputs, cell, last_input)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(last[0][0], last_cell)
    learning = [inputs, *layer.parameters()]
    for one, other in zip(
        torch.autograd.grad(found.pow(2).sum(), learning),
        torch.autograd.grad(expected.pow(2).sum(), learning),
    ):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("window", [1, 2])
@pytest.mark.parametrize("cut", [1, 3, 5])
def test_carried_state_makes_two_windows_one_text(window, cut):
    torch.manual_seed(0)
    layer, inputs = QRNNLayer(3, 4, window=window), torch.randn(2, 6, 3)
    whole, last = layer.run(inputs, zeros(layer, 2), 0.0)
    first, state = layer.run(inputs[:, :cut], zeros(layer, 2), 0.0)
    second, state = layer.run(inputs[:, cut:], state, 0.0)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    for one, other in zip(state, last):
        torch.testing.assert_close(one, other)
    assert [part.shape[2] for part in state] == list(layer.state_widths)


def test_before_a_text_a_window_of_two_sees_zeros():
    layer, inputs = QRNNLayer(3, 4, window=2), torch.randn(1, 1, 3)
    found, _ = layer.run(inputs, zeros(layer, 1), 0.0)
    padded = torch.cat([torch.zeros(1, 1, 3), inputs], dim=1)
    expected, _ = layer_one_by_one(
        layer, padded[:, 1:], torch.zeros(1, 4), torch.zeros(1, 3)
    )
    torch.testing.assert_close(found, expected)


def test_weight_dropout_has_one_mask_for_all_steps_and_spares_the_bias():
    torch.manual_seed(0)
    layer, inputs = QRNNLayer(2, 3, window=2).train(), torch.randn(1, 6, 2)
    before = layer.linear.weight.clone()
    torch.manual_seed(1)
    found, _ = layer.run(inputs, zeros(layer, 1), 0.5)
    assert torch.equal(layer.linear.weight, before)
    torch.manual_seed(1)
    with torch.no_grad():
        layer.linear.weight.copy_(F.dropout(before, 0.5))
    torch.testing.assert_close(found, layer.run(inputs, zeros(layer, 1), 0.0)[0])
    layer.eval()
    assert torch.equal(
        layer.run(inputs, zeros(layer, 1), 0.5)[0],
        layer.run(inputs, zeros(layer, 1), 0.0)[0],
    )


def test_a_window_of_three_is_refused():
    with pytest.raises(ValueError, match="window of 1 or 2, not 3"):
        QRNNLayer(2, 3, window=3)
