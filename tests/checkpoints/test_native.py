import json
from functools import partial

import pytest
import torch
from safetensors.torch import save

from spacy_elmo_ulmfit.checkpoints import build_module, read_checkpoint, save_module

from ..util import tiny_awd_lstm, tiny_bilm, tiny_classifier

BUILDERS = {
    "bilm": tiny_bilm,
    "awd_lstm": tiny_awd_lstm,
    "qrnn": partial(tiny_awd_lstm, rnn="qrnn"),
    "ulmfit_classifier": tiny_classifier,
}


@pytest.fixture(params=sorted(BUILDERS))
def module(request):
    return BUILDERS[request.param]()


def randomized_buffers(module):
    for buffer in module.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.1, 1.0)
    return module


@pytest.mark.parametrize("dtype", [None, torch.float32, torch.float16])
def test_every_kind_comes_back_with_weights_settings_and_extras(module, dtype):
    randomized_buffers(module)
    data = save_module(module, dtype=dtype, extra={"words": ["ä", "\u2028"]})
    checkpoint = read_checkpoint(data)
    assert checkpoint.kind == module.kind
    assert checkpoint.extra == {"words": ["ä", "\u2028"]}
    other = build_module(checkpoint.kind, checkpoint.settings)
    other.load_state_dict(checkpoint.state)
    assert other.config == module.config
    for name, value in module.state_dict().items():
        found = other.state_dict()[name]
        assert found.dtype == value.dtype
        if value.is_floating_point() and dtype is not None:
            value = value.to(dtype).float()
        assert torch.equal(found, value), name


def test_float16_needs_half_the_room():
    module = tiny_bilm(cell_dim=64)
    full, half = (len(save_module(module, dtype=d)) for d in (None, torch.float16))
    assert half < 0.6 * full


def test_saving_leaves_the_module_as_it_is(module):
    before = {name: value.clone() for name, value in module.state_dict().items()}
    save_module(module, dtype=torch.float16)
    for name, value in module.state_dict().items():
        assert value.dtype == before[name].dtype and torch.equal(value, before[name])


@pytest.mark.parametrize("part", [0.0, 0.0001, 0.5, 0.999])
def test_a_truncated_file_is_named(part):
    data = save_module(tiny_awd_lstm())
    with pytest.raises(ValueError, match="lm.safetensors is not a readable"):
        read_checkpoint(data[: int(len(data) * part)], source="lm.safetensors")


@pytest.mark.parametrize(
    "data", [b"version https://git-lfs.github.com/spec/v1", b"\0" * 64]
)
def test_what_is_no_safetensors_file_is_named(data):
    with pytest.raises(ValueError, match="lm.safetensors is not a readable"):
        read_checkpoint(data, source="lm.safetensors")


@pytest.mark.parametrize(
    "metadata",
    [
        None,
        {"format": "pt"},
        {"format_version": "3"},
        {"format_version": "1.0"},
        {"format_version": "v2"},
    ],
)
def test_safetensors_of_other_programs_are_refused_by_name(metadata):
    data = save({"weight": torch.zeros(2)}, metadata=metadata)
    with pytest.raises(ValueError, match="lm.safetensors was not written by this"):
        read_checkpoint(data, source="lm.safetensors")


def test_the_header_is_readable_without_this_package():
    data = save_module(tiny_awd_lstm())
    length = int.from_bytes(data[:8], "little")
    metadata = json.loads(data[8 : 8 + length])["__metadata__"]
    assert metadata["kind"] == "awd_lstm"
    assert json.loads(metadata["settings"])["n_words"] == 13


def test_unknown_kinds_and_modules_are_errors():
    with pytest.raises(ValueError, match="'gpt'.*awd_lstm"):
        build_module("gpt", {})
    module = torch.nn.Linear(1, 1)
    module.kind = "linear"
    with pytest.raises(TypeError, match="Linear"):
        save_module(module)
