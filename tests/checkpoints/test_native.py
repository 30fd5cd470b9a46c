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


LARGER = {
    "bilm": partial(tiny_bilm, char_dim=8, cell_dim=24, projection_dim=16, n_words=90),
    "awd_lstm": partial(tiny_awd_lstm, n_words=90, embedding_dim=16, hidden_dim=24),
    "qrnn": partial(
        tiny_awd_lstm, rnn="qrnn", n_words=90, embedding_dim=16, hidden_dim=24
    ),
    "ulmfit_classifier": partial(
        tiny_classifier,
        encoder={"n_words": 90, "embedding_dim": 16, "hidden_dim": 24},
        hidden_dim=32,
    ),
}


@pytest.fixture(params=sorted(LARGER))
def larger(request):
    """A module with matrices that are worth storing as int8."""
    return randomized_buffers(LARGER[request.param]())


def is_quantized(value):
    return value.dim() > 1 and value.numel() >= 1024


def test_int8_rounds_large_matrices_by_row_and_all_else_as_float16(larger):
    checkpoint = read_checkpoint(save_module(larger, dtype=torch.int8))
    other = build_module(checkpoint.kind, checkpoint.settings)
    other.load_state_dict(checkpoint.state)
    assert other.config == larger.config
    n_quantized = 0
    for name, value in larger.state_dict().items():
        found = other.state_dict()[name]
        assert found.dtype == value.dtype
        if not is_quantized(value):
            expected = value.half().float() if value.is_floating_point() else value
            assert torch.equal(found, expected), name
            continue
        n_quantized += 1
        error = (found - value).abs().flatten(1).amax(dim=1)
        assert (error <= 0.501 / 127 * value.abs().flatten(1).amax(dim=1)).all(), name
    assert n_quantized >= 3


def test_states_that_sequences_start_from_are_never_int8():
    """They are as large as matrices, but what lies in a row is not of one kind."""
    module = randomized_buffers(tiny_bilm(cell_dim=512))
    assert is_quantized(module.warm_cell)
    checkpoint = read_checkpoint(save_module(module, dtype=torch.int8))
    expected = module.warm_cell.half().float()
    assert torch.equal(checkpoint.state["warm_cell"], expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.int8])
def test_what_was_read_is_written_again_to_the_byte(larger, dtype):
    extra = {"words": ["tea", "ä"]}
    vectors = {"published": torch.randn(99, 20)}
    data = save_module(larger, dtype=dtype, extra=extra, extra_tensors=vectors)
    for _ in range(3):
        checkpoint = read_checkpoint(data)
        module = build_module(checkpoint.kind, checkpoint.settings)
        module.load_state_dict(checkpoint.state)
        again = save_module(
            module,
            dtype=dtype,
            extra=checkpoint.extra,
            extra_tensors=checkpoint.extra_tensors,
        )
        assert again == data


def test_tensors_beside_the_module_are_never_int8():
    pieces = torch.arange(2000).to(torch.uint8)
    vectors = torch.randn(200, 20)
    extra = {"pieces": pieces, "vectors": vectors}
    data = save_module(tiny_awd_lstm(), dtype=torch.int8, extra_tensors=extra)
    found = read_checkpoint(data).extra_tensors
    assert torch.equal(found["pieces"], pieces)
    assert torch.equal(found["vectors"], vectors.half().float())


def test_int8_needs_a_quarter_of_the_room():
    module = tiny_awd_lstm(n_words=2000, embedding_dim=100, hidden_dim=100)
    full, small = (len(save_module(module, dtype=d)) for d in (None, torch.int8))
    assert small < 0.28 * full


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_what_is_too_large_for_float16_stays_float32(dtype):
    module = tiny_classifier()
    norm = module.head.norms[0]
    norm.running_var[0] = 1e6
    checkpoint = read_checkpoint(save_module(module, dtype=dtype))
    found = checkpoint.state["head.norms.0.running_var"]
    assert torch.equal(found, norm.running_var)


def test_weights_that_are_not_finite_are_no_int8():
    module = tiny_awd_lstm(n_words=90, embedding_dim=16)
    with torch.no_grad():
        module.embedding.weight[3, 4] = float("nan")
    with pytest.raises(ValueError, match=r"embedding\.weight has values .* not finite"):
        save_module(module, dtype=torch.int8)


@pytest.mark.parametrize("dtype", [torch.float16, torch.int8])
def test_saving_leaves_the_module_as_it_is(larger, dtype):
    module = larger
    before = {name: value.clone() for name, value in module.state_dict().items()}
    save_module(module, dtype=dtype)
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
        {"format_version": "0"},
        {"format_version": "1.0"},
        {"format_version": "v2"},
    ],
)
def test_safetensors_of_other_programs_are_refused_by_name(metadata):
    data = save({"weight": torch.zeros(2)}, metadata=metadata)
    with pytest.raises(ValueError, match="lm.safetensors was not written by this"):
        read_checkpoint(data, source="lm.safetensors")


def header(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])


def test_files_of_later_versions_are_named():
    metadata = {"format_version": "4", "kind": "awd_lstm", "package_version": "7.1.0"}
    data = save({"weight": torch.zeros(2)}, metadata=metadata)
    message = "lm.safetensors was written by a later.*'4'.*spacy-elmo-ulmfit>=7.1.0"
    with pytest.raises(ValueError, match=message):
        read_checkpoint(data, source="lm.safetensors")


def test_an_unknown_encoding_is_of_a_later_version_too():
    data = save_module(LARGER["awd_lstm"](), dtype=torch.int8)
    # As long as before, so that nothing else moves.
    data = data.replace(b"int8_rows", b"int4_rows")
    message = "lm.safetensors stores .* as 'int4_rows': it was written by a later"
    with pytest.raises(ValueError, match=message):
        read_checkpoint(data, source="lm.safetensors")


@pytest.mark.parametrize(
    "dtype, version",
    [(torch.float32, "2"), (torch.float16, "2"), (torch.int8, "3")],
    ids=str,
)
def test_only_int8_is_news_to_earlier_versions(dtype, version):
    """Format 2 has no whole numbers: its readers would take them for weights."""
    stored = header(save_module(LARGER["bilm"](), dtype=dtype))
    metadata = stored.pop("__metadata__")
    assert metadata["format_version"] == version
    assert ("encodings" in metadata) is (version == "3")
    types = {tensor["dtype"] for tensor in stored.values()}
    expected = {"2": {"F32"} if dtype == torch.float32 else {"F16"}}
    assert types == expected.get(version, {"I8", "F32", "F16"})


def test_the_header_is_readable_without_this_package():
    metadata = header(save_module(tiny_awd_lstm()))["__metadata__"]
    assert metadata["kind"] == "awd_lstm"
    assert json.loads(metadata["settings"])["n_words"] == 13


def test_unknown_kinds_and_modules_are_errors():
    with pytest.raises(ValueError, match="'gpt'.*awd_lstm"):
        build_module("gpt", {})
    module = torch.nn.Linear(1, 1)
    module.kind = "linear"
    with pytest.raises(TypeError, match="Linear"):
        save_module(module)
