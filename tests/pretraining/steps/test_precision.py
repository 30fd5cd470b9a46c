"""Which precision `"auto"` is, by what the machine multiplies itself."""

import pytest
import torch

from spacy_elmo_ulmfit.pretraining.config import LMConfig
from spacy_elmo_ulmfit.pretraining.steps.precision import (
    check_machine,
    multiplies_bfloat16,
)

CPU = torch.device("cpu")


def config(precision):
    return LMConfig(
        component="lm",
        logger=print,
        optimizer=print,
        learn_rate=0.1,
        max_steps=1,
        batch_size=1,
        bptt=1,
        precision=precision,
    )


def set_capabilities(monkeypatch, **found):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)


@pytest.mark.parametrize("instruction", ["avx512_bf16", "amx_bf16", "bf16"])
def test_auto_is_bfloat16_where_the_processor_multiplies_it(instruction, monkeypatch):
    set_capabilities(monkeypatch, avx2=True, **{instruction: True})
    assert config("auto").dtype == torch.bfloat16


def test_auto_is_float32_elsewhere(monkeypatch):
    set_capabilities(monkeypatch, avx2=True, avx512_bf16=False)
    assert config("auto").dtype == torch.float32
    # Earlier versions of torch do not tell.
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert not multiplies_bfloat16(CPU)


def test_what_is_asked_for_is_done_whatever_the_processor(monkeypatch):
    set_capabilities(monkeypatch, avx512_bf16=True)
    assert config("float32").dtype == torch.float32
    set_capabilities(monkeypatch)
    assert config("bfloat16").dtype == torch.bfloat16


@pytest.mark.parametrize("fast", [True, False])
def test_slow_bfloat16_is_warned_of(fast, monkeypatch, caplog):
    set_capabilities(monkeypatch, avx512_bf16=fast)
    monkeypatch.setattr("spacy.util.logger.propagate", True)
    check_machine(CPU, dtype=torch.bfloat16)
    assert ("does not multiply bfloat16" in caplog.text) is not fast
