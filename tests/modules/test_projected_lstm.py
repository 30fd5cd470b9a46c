from unittest import mock

import pytest
import torch

from spacy_elmo_ulmfit.modules import recurrence
from spacy_elmo_ulmfit.modules.packing import PackedLayout
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM

LENGTHS = [3, 5, 1]
# Cell and projection: both clips, one of them, none; projection or none.
CASES = [
    (4, 3, 0.3, 0.1),
    (4, 3, 0.3, None),
    (4, 3, None, 0.1),
    (4, 3, None, None),
    (4, 4, 0.3, 0.1),
    (4, 6, 0.3, 0.1),
]


def build(cell_dim, projection_dim, cell_clip, proj_clip, input_dim=3):
    torch.manual_seed(0)
    layer = ProjectedLSTM(
        input_dim, cell_dim, projection_dim, cell_clip=cell_clip, proj_clip=proj_clip
    ).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.5)
    return layer


def batch(layer, lengths=LENGTHS):
    """Return packed inputs, sizes and the initial state of falling lengths."""
    n, cell_dim = len(lengths), layer.weight_hh.shape[0] // 4
    inputs = torch.randn(sum(lengths), layer.weight_ih.shape[1]).double()
    state = (
        torch.randn(n, layer.weight_hh.shape[1]).double() * 0.1,
        torch.randn(n, cell_dim).double() * 0.1,
    )
    return inputs, PackedLayout.from_lengths(lengths).batch_sizes, state


def reference(layer, inputs, hidden, cell):
    """One sequence, one step after the other, from the formulas."""
    outputs = []
    for x in inputs:
        z = layer.weight_ih @ x + layer.weight_hh @ hidden + layer.bias
        i, f, g, o = z.chunk(4)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        if layer.cell_clip is not None:
            cell = cell.clamp(-layer.cell_clip, layer.cell_clip)
        hidden = torch.sigmoid(o) * torch.tanh(cell)
        if layer.weight_hr is not None:
            hidden = layer.weight_hr @ hidden
            if layer.proj_clip is not None:
                hidden = hidden.clamp(-layer.proj_clip, layer.proj_clip)
        outputs.append(hidden)
    return torch.stack(outputs), hidden, cell


def run_reference(layer, inputs, state, lengths=LENGTHS):
    """All sequences of a packed batch, and their last states."""
    index = PackedLayout.from_lengths(lengths).forward_index
    flat = torch.empty_like(inputs)
    flat[index] = inputs
    order = sorted(range(len(lengths)), key=lambda i: -lengths[i])
    pieces = flat.split(lengths)
    outputs, last = [None] * len(lengths), []
    for row, number in enumerate(order):
        output, hidden, cell = reference(
            layer, pieces[number], state[0][row], state[1][row]
        )
        outputs[number] = output
        last.append((hidden, cell))
    packed = torch.cat(outputs)[index]
    return packed, torch.stack([h for h, _ in last]), torch.stack([c for _, c in last])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("with_grad", [True, False])
def test_outputs_and_last_states_are_those_of_the_formulas(case, with_grad):
    layer = build(*case)
    inputs, sizes, state = batch(layer)
    with torch.set_grad_enabled(with_grad):
        outputs, (hidden, cell) = layer(inputs, sizes, state)
    expected = run_reference(layer, inputs, state)
    for found, wanted in zip((outputs, hidden, cell), expected):
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("case", CASES)
def test_gradients_are_those_of_the_formulas(case):
    layer = build(*case)
    inputs, sizes, state = batch(layer)
    leaves = [inputs, *state]
    for leaf in leaves:
        leaf.requires_grad_()
    outputs, (hidden, cell) = layer(inputs, sizes, state)
    results = run_reference(layer, inputs, state)
    assert_same_gradients(
        (outputs, hidden, cell), results, [*leaves, *layer.parameters()]
    )


def assert_same_gradients(found, wanted, leaves):
    """Compare gradients of a weighted sum of all results."""
    weights = [torch.randn_like(part) for part in wanted]
    pairs = zip(
        *(
            torch.autograd.grad(
                sum((part * weight).sum() for part, weight in zip(parts, weights)),
                leaves,
            )
            for parts in (found, wanted)
        )
    )
    for one, other in pairs:
        torch.testing.assert_close(one, other, rtol=0, atol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_backward_passes_gradcheck(case):
    layer = build(*case, input_dim=2)
    inputs, sizes, state = batch(layer)
    arguments = [inputs, *state, *layer.parameters()]
    arguments = [value.detach().requires_grad_() for value in arguments]
    has_projection = layer.weight_hr is not None
    names = ["weight_ih", "weight_hh", "bias"] + ["weight_hr"] * has_projection

    def function(inputs, hidden, cell, *weights):
        outputs, last = torch.func.functional_call(
            layer, dict(zip(names, weights)), (inputs, sizes, (hidden, cell))
        )
        return outputs, *last

    assert torch.autograd.gradcheck(function, arguments)


def test_clips_of_these_tests_really_bite():
    layer = build(*CASES[0])
    inputs, sizes, state = batch(layer)
    outputs, (_, cell) = layer(inputs, sizes, state)
    at_bound = (outputs.abs() == 0.1).double().mean()
    assert 0.2 < at_bound < 1.0
    assert 0.1 < (cell.abs() == 0.3).double().mean() < 1.0


def test_no_projection_and_no_projection_clip_when_widths_agree():
    layer = build(4, 4, None, 1e-6)
    inputs, sizes, state = batch(layer)
    assert layer.weight_hr is None
    assert layer(inputs, sizes, state)[0].abs().max() > 1e-3


@pytest.mark.parametrize("clip", [None, 0, 0.0])
def test_zero_and_none_mean_no_clip(clip):
    layer = build(4, 3, clip, clip)
    inputs, sizes, state = batch(layer)
    state = (state[0], state[1] + 50.0)
    assert layer(inputs, sizes, state)[1][1].abs().max() > 1.0


def test_agrees_with_torch_lstm_without_clips():
    layer = build(4, 3, None, None)
    other = torch.nn.LSTM(3, 4, proj_size=3).double()
    with torch.no_grad():
        other.weight_ih_l0.copy_(layer.weight_ih)
        other.weight_hh_l0.copy_(layer.weight_hh)
        other.weight_hr_l0.copy_(layer.weight_hr)
        other.bias_ih_l0.copy_(layer.bias)
        other.bias_hh_l0.zero_()
    inputs, sizes, state = batch(layer, [6])
    expected, _ = other(
        inputs.unsqueeze(1), (state[0].unsqueeze(0), state[1].unsqueeze(0))
    )
    torch.testing.assert_close(layer(inputs, sizes, state)[0], expected.squeeze(1))


@pytest.mark.parametrize("case", [(4, 3, None, None), (4, 4, None, 0.1)])
def test_what_cudnn_computes_on_a_gpu_is_the_same_without_clips(case):
    layer = build(*case)
    inputs, sizes, state = batch(layer)
    leaves = [inputs, *state]
    for leaf in leaves:
        leaf.requires_grad_()
    outputs, last = layer.run_library(inputs, sizes, state)
    expected, expected_last = layer(inputs, sizes, state)
    found, wanted = (outputs, *last), (expected, *expected_last)
    for one, other in zip(found, wanted):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)
    assert_same_gradients(found, wanted, [*leaves, *layer.parameters()])


@pytest.mark.parametrize(
    "case, device, expected",
    [
        ((4, 3, None, None), "cuda", True),
        ((4, 3, None, None), "cpu", False),
        ((4, 3, 3.0, None), "cuda", False),
        ((4, 3, None, 3.0), "cuda", False),
        # The bound of the projection means nothing without one.
        ((4, 4, None, 3.0), "cuda", True),
        ((4, 6, None, None), "cuda", False),
    ],
)
def test_only_layers_without_clips_are_left_to_cudnn(case, device, expected):
    assert build(*case).computed_by_cudnn(torch.device(device)) is expected


@pytest.mark.parametrize("rows", [1, 2, 4, 100])
def test_prediction_in_blocks_changes_nothing(rows):
    layer = build(*CASES[0])
    inputs, sizes, state = batch(layer, [7, 6, 2, 2])
    with torch.no_grad():
        expected, _ = layer(inputs, sizes, state)
        numbers = rows * len(layer.bias)
        with mock.patch.object(recurrence, "_WINDOW_NUMBERS", numbers):
            found, _ = layer(inputs, sizes, state)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("with_grad", [True, False])
def test_inputs_and_initial_state_are_left_as_they_are(with_grad):
    layer = build(*CASES[0])
    inputs, sizes, state = batch(layer)
    before = [value.clone() for value in (inputs, *state)]
    with torch.set_grad_enabled(with_grad):
        layer(inputs, sizes, state)
    assert all(torch.equal(a, b) for a, b in zip(before, (inputs, *state)))


def test_forget_gate_starts_open():
    bias = ProjectedLSTM(3, 4, 2).bias
    assert bias.tolist() == [0.0] * 4 + [1.0] * 4 + [0.0] * 8
