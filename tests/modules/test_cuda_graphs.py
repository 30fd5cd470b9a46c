"""Recordings of a recurrence. What a GPU does is played here by a function that, like a
graph, knows only tensors of its own; `tests/test_gpu.py` has the real thing."""

import copy
import pickle

import pytest
import torch

from spacy_elmo_ulmfit.modules import projected_recurrence
from spacy_elmo_ulmfit.modules.cuda_graphs import GraphCache, can_replay

from .test_projected_lstm import build

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class Recording:
    """Computes in its own tensors, the same ones in every call."""

    def __init__(self, function, examples):
        self.function = function
        self.inputs = [None if part is None else part.clone() for part in examples]
        self.n_replays, self.outputs = 0, None

    def __call__(self, *inputs):
        self.n_replays += 1
        for own, given in zip(self.inputs, inputs):
            if own is not None:
                own.copy_(given)
        results = self.function(*self.inputs)
        if self.outputs is None:
            self.outputs = results
        for own, result in zip(self.outputs, results):
            own.copy_(result)
        return tuple(output.clone() for output in self.outputs)


class Recorder:
    def __init__(self):
        self.recordings = []

    def __call__(self, function, examples):
        self.recordings.append(Recording(function, examples))
        return self.recordings[-1]


def read_twice(layer, seed):
    """Outputs and gradients of two windows, the second from the state of the first."""
    torch.manual_seed(seed)
    hidden_dim, cell_dim = layer.weight_hh.shape[1], len(layer.bias) // 4
    state = (torch.randn(2, hidden_dim).double(), torch.randn(2, cell_dim).double())
    inputs = torch.randn(2, 6, 3).double().requires_grad_()
    total, outputs = 0.0, []
    for window in inputs:
        output, state = layer(window, [2, 2, 2], state)
        outputs.append(output)
        total = total + (output * torch.randn_like(output)).sum()
    (total + state[0].sum() + state[1].sum()).backward()
    gradients = [parameter.grad.clone() for parameter in layer.parameters()]
    layer.zero_grad()
    return [*outputs, inputs.grad, *gradients]


@pytest.mark.parametrize(
    "case", [(4, 3, 0.3, 0.1), (4, 4, 0.3, None), (4, 3, None, 3.0)]
)
def test_replayed_steps_compute_the_same(case, monkeypatch):
    """Whatever else was computed in between, forward twice and then backward twice."""
    layer = build(*case)
    expected = [read_twice(layer, seed) for seed in range(4)]
    recorder = Recorder()
    layer._graphs = GraphCache(recorder)
    monkeypatch.setattr(projected_recurrence, "can_replay", lambda *call: True)
    found = [read_twice(layer, seed) for seed in range(4)]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    steps, back = recorder.recordings
    assert steps.n_replays == back.n_replays == 8 - 2


def test_only_calls_that_come_again_are_recorded():
    recorder = Recorder()
    cache = GraphCache(recorder)

    def double(values):
        return (values * 2,)

    for n in (1, 2, 3, 1, 2, 1, 1):
        (result,) = cache.run("double", double, [torch.ones(n)])
        assert result.tolist() == [2.0] * n
    assert [len(found.inputs[0]) for found in recorder.recordings] == [1]
    assert recorder.recordings[0].n_replays == 2


def test_lengths_without_end_do_not_fill_the_memory():
    recorder = Recorder()
    cache = GraphCache(recorder)
    for n in range(1, 50):
        for _ in range(4):
            cache.run("same", lambda values: (values + 1,), [torch.ones(n)])
    assert len(recorder.recordings) == 4


def test_what_cannot_be_recorded_is_run_as_it_is():
    def refuse(function, examples):
        raise RuntimeError("operation not permitted when stream is capturing")

    cache = GraphCache(refuse)
    for _ in range(5):
        (result,) = cache.run("add", lambda values: (values + 1,), [torch.ones(1)])
        assert result.item() == 2.0


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))]
)
def test_copies_of_a_layer_record_for_themselves(copied):
    layer = build(4, 3, 0.3, 0.1)
    layer._graphs = GraphCache(Recorder())
    layer._graphs.run("same", lambda values: (values,), [torch.ones(1)])
    assert copied(layer)._graphs is not layer._graphs
    assert not copied(layer)._graphs._calls


@pytest.mark.parametrize(
    "device, sizes, expected",
    [(GPU, [4, 4, 4], True), (GPU, [4, 4, 1], False), (CPU, [4, 4, 4], False)],
)
def test_only_rows_of_equal_length_on_a_gpu_are_replayed(device, sizes, expected):
    assert can_replay(device, sizes) is expected
