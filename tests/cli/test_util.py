import pytest
import torch

from spacy_elmo_ulmfit.cli import _util


@pytest.fixture(autouse=True)
def restored():
    precision = torch.get_float32_matmul_precision()
    yield
    torch.set_float32_matmul_precision(precision)


@pytest.mark.parametrize("error, precision", [(1e-6, "medium"), (2e-3, "highest")])
def test_products_are_never_of_half_precision_unasked(error, precision, monkeypatch):
    monkeypatch.setattr(_util, "_matmul_error", lambda: error)
    _util.prepare(-1, None, False)
    assert torch.get_float32_matmul_precision() == precision


def test_the_error_tells_half_precision_from_full(monkeypatch):
    torch.set_float32_matmul_precision("highest")
    assert _util._matmul_error() < _util._EXACT
    exact = torch.Tensor.__matmul__

    def rounded(left, right):
        if left.dtype == torch.float64:
            return exact(left, right)
        return exact(left.bfloat16(), right.bfloat16()).float()

    monkeypatch.setattr(torch.Tensor, "__matmul__", rounded)
    assert _util._matmul_error() > 10 * _util._EXACT
