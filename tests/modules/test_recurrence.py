import pytest
import torch

from spacy_elmo_ulmfit.modules import recurrence
from spacy_elmo_ulmfit.modules.projected_lstm import ProjectedLSTM

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def compiled():
    """What a GPU would compute with, compiled for the CPU."""
    function = recurrence.compile_activation(CPU)
    if function is recurrence.activate:
        pytest.skip("torch compiles nothing here: there is no C++ compiler")
    return function


@pytest.mark.parametrize("clip", [3.0, 0.5, None])
@pytest.mark.parametrize("rows", [1, 2, 7])
def test_compiled_steps_compute_the_same_in_place(compiled, rows, clip):
    torch.manual_seed(0)
    gates, cell = torch.randn(rows, 20), torch.randn(rows, 5)
    expected = gates.clone(), cell.clone()
    squashed = compiled(gates, cell, clip)
    torch.testing.assert_close(
        squashed, recurrence.activate(*expected, clip), rtol=0, atol=1e-6
    )
    torch.testing.assert_close((gates, cell), expected, rtol=0, atol=1e-6)


def test_a_layer_computes_the_same_by_compiled_steps(compiled, monkeypatch):
    torch.manual_seed(0)
    layer = ProjectedLSTM(3, 8, 4, cell_clip=0.5, proj_clip=0.3)
    sizes = [3, 3, 2, 1]
    inputs, state = torch.randn(sum(sizes), 3), (torch.zeros(3, 4), torch.zeros(3, 8))
    with torch.no_grad():
        expected = layer(inputs, sizes, state)
        monkeypatch.setattr(recurrence, "activation_on", lambda device: compiled)
        found = layer(inputs, sizes, state)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("fails_at_once", [False, True])
def test_a_step_that_does_not_compile_is_computed_as_it_is(monkeypatch, fails_at_once):
    def broken(function, **settings):
        def call(*arguments):
            raise RuntimeError("no compiler")

        # Versions of Python that torch cannot compile are refused before the first call.
        return call() if fails_at_once else call

    monkeypatch.setattr(torch, "compile", broken)
    recurrence.compile_activation.cache_clear()
    try:
        assert recurrence.compile_activation(CPU) is recurrence.activate
    finally:
        recurrence.compile_activation.cache_clear()


def test_processors_are_spared_the_compiler():
    assert recurrence.activation_on(CPU) is recurrence.activate
