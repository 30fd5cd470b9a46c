"""Writers of every layout of AWD-LSTM weights, with small random numbers.

`Sizes` says what is common to all. `random_model` makes the numbers, and each function
below names them as the tools of one time did; the numbers depend on nothing but the
sizes and a seed.
"""

import contextlib
import copyreg
import io
import json
import pickle
import struct
import sys
import types
from dataclasses import dataclass
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Sequence
from unittest import mock

import numpy
import torch
from numpy.typing import NDArray

Array = NDArray[numpy.float32]
State = Dict[str, torch.Tensor]

TEXT = "the river near rome is wide . they sat on its bank and drank tea in it ,"
SPECIALS_V2 = "xxunk xxpad xxbos xxeos xxfld xxrep xxwrep xxup xxmaj".split()
SPECIALS_V1 = "xxunk xxpad xxbos xxeos xxfld xxmaj xxup xxrep xxwrep".split()
SPECIALS_V07 = ["_unk_", "_pad_"]
# Markers that 0.7 has as words among others.
MARKERS_V07 = ["xbos", "xfld", "t_up", "tk_rep", "tk_wrep"]
HEAD_DIM = 5


@dataclass(frozen=True)
class Sizes:
    """Sizes of a model, named as in fastai's config.

    n_labels (int): Number of labels; 0 for a language model.
    """

    emb_sz: int = 6
    n_hid: int = 9
    n_layers: int = 3
    qrnn: bool = False
    n_labels: int = 0

    def width(self, layer: int) -> int:
        """Width of a layer's output; that of the embedding is layer -1's."""
        return self.n_hid if 0 <= layer < self.n_layers - 1 else self.emb_sz


class Block(NamedTuple):
    """One block of a classifier's head."""

    norm: Mapping[str, Array]
    weight: Array
    bias: Array


class Model(NamedTuple):
    """The numbers of a model.

    layers (List[Dict[str, Array]]): `ih`, `hh`, `b_ih` and `b_hh` of LSTMs in torch's
        order of gates; `weight` and `bias` of QRNNs.
    """

    sizes: Sizes
    embedding: Array
    layers: List[Dict[str, Array]]
    bias: Array
    head: List[Block]


def vocabulary(specials: Sequence[str], n_fake: int = 0) -> List[str]:
    """Return the words of a vocabulary; fastai fills it up with `xxfake`."""
    return [*specials, *TEXT.split(), *["xxfake"] * n_fake]


def random_model(
    n_words: int, sizes: Sizes = Sizes(), *, seed: int = 0, decoder_bias: bool = True
) -> Model:
    """Make the numbers of a model.

    decoder_bias (bool): Whether the decoder has one that is not zero.
    """
    rng = numpy.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.7) -> Array:
        return rng.normal(0.0, scale, shape).astype("float32")

    layers = []
    for i in range(sizes.n_layers):
        n_in, n_out = sizes.width(i - 1), sizes.width(i)
        if sizes.qrnn:
            window = 2 if i == 0 else 1
            weight = normal(3 * n_out, window * n_in)
            layers.append({"weight": weight, "bias": normal(3 * n_out)})
            continue
        layers.append(
            {
                "ih": normal(4 * n_out, n_in),
                "hh": normal(4 * n_out, n_out),
                "b_ih": normal(4 * n_out),
                "b_hh": normal(4 * n_out),
            }
        )
    head = []
    if sizes.n_labels:
        dims = [3 * sizes.emb_sz, HEAD_DIM, sizes.n_labels]
        for n_in, n_out in zip(dims, dims[1:]):
            norm = {
                "weight": normal(n_in) + 1.0,
                "bias": normal(n_in),
                "running_mean": normal(n_in),
                "running_var": rng.uniform(0.5, 1.5, n_in).astype("float32"),
            }
            head.append(Block(norm, normal(n_out, n_in), normal(n_out)))
    embedding = normal(n_words, sizes.emb_sz)
    bias = normal(n_words) if decoder_bias else numpy.zeros(n_words, dtype="float32")
    return Model(sizes, embedding, layers, bias, head)


# Language models ------------------------------------------------------------------


def v07_state(model: Model) -> State:
    """fastai 0.7: 15 names with three layers, and no bias of the decoder."""
    state = {"0.encoder.weight": model.embedding}
    state["0.encoder_with_dropout.embed.weight"] = model.embedding
    for i, layer in enumerate(model.layers):
        module = f"0.rnns.{i}.module."
        state[f"{module}weight_ih_l0"] = layer["ih"]
        state[f"{module}bias_ih_l0"] = layer["b_ih"]
        state[f"{module}bias_hh_l0"] = layer["b_hh"]
        state[f"{module}weight_hh_l0_raw"] = layer["hh"]
    state["1.decoder.weight"] = model.embedding
    return _tensors(state)


def v1_state(model: Model) -> State:
    """fastai v1: 19 names with three layers, one matrix of each of them twice.

    The second time it is what the weight dropout of the last step left of it.
    """
    state = v2_state(model)
    for i, layer in enumerate(model.layers):
        dropped = torch.tensor(layer["hh"])
        dropped[::2] = 0.0
        state[f"0.rnns.{i}.module.weight_hh_l0"] = dropped
    return state


def v2_state(model: Model) -> State:
    """fastai v2: 16 names with three layers."""
    state = {"0.encoder.weight": model.embedding}
    state["0.encoder_dp.emb.weight"] = model.embedding
    for i, layer in enumerate(model.layers):
        state[f"0.rnns.{i}.weight_hh_l0_raw"] = layer["hh"]
        module = f"0.rnns.{i}.module."
        state[f"{module}weight_ih_l0"] = layer["ih"]
        state[f"{module}bias_ih_l0"] = layer["b_ih"]
        state[f"{module}bias_hh_l0"] = layer["b_hh"]
    state["1.decoder.weight"] = model.embedding
    state["1.decoder.bias"] = model.bias
    return _tensors(state)


def multifit_state(model: Model, linear: str = "layers.0.linear") -> State:
    """MultiFiT with QRNNs; older files have `"linear"` alone."""
    state = {"0.encoder.weight": model.embedding}
    state["0.encoder_dp.emb.weight"] = model.embedding
    for i, layer in enumerate(model.layers):
        name = f"0.rnns.{i}.{linear}."
        state[f"{name}weight_raw"] = layer["weight"]
        state[f"{name}module.weight"] = layer["weight"] * (layer["weight"] > 0)
        state[f"{name}module.bias"] = layer["bias"]
    state["1.decoder.weight"] = model.embedding
    state["1.decoder.bias"] = model.bias
    return _tensors(state)


def salesforce_state(model: Model) -> State:
    """awd-lstm-lm: no prefix, no copy, raw matrices inside their modules."""
    state = {"encoder.weight": model.embedding}
    for i, layer in enumerate(model.layers):
        module = f"rnns.{i}.module."
        if "weight" in layer:
            linear = f"rnns.{i}.linear.module."
            state[f"{linear}bias"] = layer["bias"]
            state[f"{linear}weight_raw"] = layer["weight"]
            continue
        state[f"{module}weight_ih_l0"] = layer["ih"]
        state[f"{module}bias_ih_l0"] = layer["b_ih"]
        state[f"{module}bias_hh_l0"] = layer["b_hh"]
        state[f"{module}weight_hh_l0_raw"] = layer["hh"]
    state["decoder.weight"] = model.embedding
    state["decoder.bias"] = model.bias
    return _tensors(state)


def encoder_state(state: State) -> State:
    """Return what `save_encoder` writes of a language model."""
    return {k.removeprefix("0."): v for k, v in state.items() if k.startswith("0.")}


# Classifiers ----------------------------------------------------------------------


def v07_classifier(model: Model) -> State:
    """fastai 0.7: named parts, and a torch that did not count batches."""
    state = {k: v for k, v in v07_state(model).items() if k.startswith("0.")}
    for i, block in enumerate(model.head):
        state.update(_named(f"1.layers.{i}.lin.", block, weight=True, bias=True))
        state.update(_named(f"1.layers.{i}.bn.", block, norm=True))
    return state


def v1_classifier(model: Model, *, ps: Sequence[float] = (0.4, 0.1)) -> State:
    """fastai v1: all layers in a row, without the dropouts that are 0."""
    state, number = _in_sentence_encoder(_v1_encoder(model)), 0
    for i, block in enumerate(model.head):
        state.update(_named(f"1.layers.{number}.", block, norm=True, tracked=True))
        number += 2 if ps[i] else 1
        state.update(_named(f"1.layers.{number}.", block, weight=True, bias=True))
        number += 2
    return state


def v2_classifier(model: Model, *, ps: Sequence[float] = (0.4, 0.1)) -> State:
    """fastai v2: a block in a block, linear layers without bias."""
    state = _in_sentence_encoder(encoder_state(v2_state(model)))
    for i, block in enumerate(model.head):
        state.update(_named(f"1.layers.{i}.0.", block, norm=True, tracked=True))
        linear = 2 if ps[i] else 1
        state.update(_named(f"1.layers.{i}.{linear}.", block, weight=True))
    return state


def without_biases(model: Model) -> Model:
    """Return a model whose head has no biases, as those of v2."""
    head = [block._replace(bias=numpy.zeros_like(block.bias)) for block in model.head]
    return model._replace(head=head)


def _v1_encoder(model: Model) -> State:
    state = multifit_state(model) if model.sizes.qrnn else v1_state(model)
    return encoder_state(state)


def _in_sentence_encoder(encoder: State) -> State:
    return {f"0.module.{name}": tensor for name, tensor in encoder.items()}


def _named(
    prefix: str,
    block: Block,
    *,
    norm: bool = False,
    tracked: bool = False,
    weight: bool = False,
    bias: bool = False,
) -> State:
    state: Dict[str, Any] = {}
    if norm:
        state.update(block.norm)
    if weight:
        state["weight"] = block.weight
    if bias:
        state["bias"] = block.bias
    tensors = {f"{prefix}{name}": value for name, value in _tensors(state).items()}
    if tracked:
        tensors[f"{prefix}num_batches_tracked"] = torch.tensor(7)
    return tensors


def _tensors(state: Mapping[str, Array]) -> State:
    return {name: torch.tensor(value) for name, value in state.items()}


# Containers -----------------------------------------------------------------------


def saved_as_of_old(value: Any) -> bytes:
    """Return what torch wrote before 1.6: pickles in a row."""
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def saved_by_torch_03(state: State) -> bytes:
    """Return what torch 0.3 wrote on a machine with a GPU."""
    buffer = io.BytesIO()
    information = {
        "protocol_version": 1001,
        "little_endian": True,
        "type_sizes": {"short": 2, "int": 4, "long": 4},
    }
    for part in (0x1950A86A20F9469CFC6C, 1001, information):
        pickle.dump(part, buffer, protocol=2)
    pickler = _Torch03Pickler(buffer)
    pickler.dump({name: _OldTensor(tensor) for name, tensor in state.items()})
    pickle.dump([key for key, _ in pickler.storages], buffer, protocol=2)
    for _, tensor in pickler.storages:
        buffer.write(struct.pack("<q", tensor.numel()))
        buffer.write(tensor.numpy().tobytes())
    return buffer.getvalue()


class _OldTensor(NamedTuple):
    tensor: torch.Tensor


class _OldStorage(NamedTuple):
    tensor: torch.Tensor


class _Torch03Pickler(pickle.Pickler):
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=2)
        self.storages: List[Any] = []

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _OldStorage):
            return None
        key = str(94_000_000 + len(self.storages))
        self.storages.append((key, obj.tensor.contiguous()))
        size = obj.tensor.numel()
        return ("storage", torch.FloatStorage, key, "cuda:0", size, None)

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, _OldTensor):
            return NotImplemented
        tensor = obj.tensor.contiguous()
        arguments = (_OldStorage(tensor), 0, tuple(tensor.shape), tensor.stride())
        return torch._utils._rebuild_tensor, arguments


@contextlib.contextmanager
def foreign_class(module_name: str, class_name: str) -> Iterator[Any]:
    """Make a class that pickles as one of a program that is not installed.

    Its instances keep the attributes they are given.
    """
    parts = module_name.split(".")
    names = [".".join(parts[: i + 1]) for i in range(len(parts))]
    modules = {name: types.ModuleType(name) for name in names}
    created = type(class_name, (types.SimpleNamespace,), {"__module__": module_name})
    created.__reduce_ex__ = _reduce_to_attributes
    setattr(modules[module_name], class_name, created)
    with mock.patch.dict(sys.modules, modules):
        yield created


def _reduce_to_attributes(self: Any, protocol: Any) -> Any:
    return copyreg.__newobj__, (type(self),), vars(self)


def pickled_l(words: Sequence[str]) -> bytes:
    """Return a vocabulary as fastai v2 may pickle it: a `fastcore.foundation.L`."""
    with foreign_class("fastcore.foundation", "L") as fastcore_list:
        return pickle.dumps(fastcore_list(items=list(words)))


def multifit_description(sizes: Sizes, **arch: Any) -> bytes:
    """Return the JSON that MultiFiT writes beside its weights."""
    settings = {
        "tokenizer_type": "fsp",
        "max_vocab": 15000,
        "lang": "de",
        "emb_sz": sizes.emb_sz,
        "n_hid": sizes.n_hid,
        "n_layers": sizes.n_layers,
        "qrnn": sizes.qrnn,
    }
    return json.dumps(
        {"name": "multifit_fp16", "bptt": 70, "arch": {**settings, **arch}}
    ).encode()
