"""State dicts of AWD-LSTMs, as fastai and the tools around it name their tensors.

Sources: fastai 0.7's `lm_rnn.py`, `text/models/awd_lstm.py` and `qrnn.py` of v1,
`text/models/awdlstm.py` of v2, MultiFiT's `training.py`, and awd-lstm-lm's `model.py`.
"""

import re
from dataclasses import asdict
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from ..modules.awd_lstm import AWDLSTM, LSTM, QRNN, AWDLSTMConfig
from .fastai_head import Head, read_head
from .native import build_module
from .tensors import Named, Tensors, check_shapes

V07, V1, V2 = "fastai-v0.7", "fastai-v1", "fastai-v2"
AWD_LSTM_LM = "awd-lstm-lm"

_LSTM_PARTS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
# A layer's matrix of a QRNN: in v1; in what came before it, and in later MultiFiT.
_QRNN_LINEARS = ("layers.0.linear.", "linear.")
# Copies of the embedding that its dropout has.
_COPIES = {V07: "encoder_with_dropout.embed.weight", V1: "encoder_dp.emb.weight"}


class FastaiModel(NamedTuple):
    """An AWD-LSTM in our terms.

    layout (str): Who names the tensors so: `"fastai-v0.7"`, `"fastai-v1"`,
        `"fastai-v2"` or `"awd-lstm-lm"`.
    config (AWDLSTMConfig): Its sizes.
    encoder (Dict[str, Tensor]): Embedding and layers.
    decoder_bias (Optional[Tensor]): The decoder's, zeros if it has none; `None`
        without a decoder.
    head (Optional[Head]): What a classifier has on top.
    notes (List[str]): What the user should know.
    """

    layout: str
    config: AWDLSTMConfig
    encoder: Dict[str, Tensor]
    decoder_bias: Optional[Tensor]
    head: Optional[Head]
    notes: List[str]


def read_fastai(state: Mapping[str, Tensor], name: str) -> FastaiModel:
    """Read a language model, its encoder alone, or a classifier.

    state (Mapping[str, Tensor]): The file's tensors; what it is follows from their names.
    name (str): The file, for error messages.
    RETURNS (FastaiModel): The model.
    RAISES (ValueError): If it is something else, or not whole.
    """
    prefix = _encoder_prefix(state, name)
    tensors = Tensors(state, name)
    embedding = tensors.get(f"{prefix}encoder.weight")
    found = {"embedding.weight": embedding}
    rnn = _rnn_kind(state, prefix, name)
    for number in _layer_numbers(state, prefix, name):
        read_layer = _read_qrnn if rnn == QRNN else _read_lstm
        layer = read_layer(tensors, f"{prefix}rnns.{number}.")
        found.update(
            {f"layers.{number}.{part}": named for part, named in layer.items()}
        )
    config = _config(found, rnn, name)
    notes = _read_copies(tensors, prefix, embedding)
    bias, decoder_notes = _read_decoder(tensors, embedding)
    head = read_head(tensors, 3 * config.embedding_dim)
    if tensors.unread:
        raise ValueError(
            f"{name} has weights that no AWD-LSTM has ({', '.join(tensors.unread[:3])}). "
            "It holds another network, or more than one."
        )
    with torch.device("meta"):
        expected = build_module(AWDLSTM.kind, asdict(config)).state_dict()
    if bias is not None:
        found["decoder_bias"] = bias
    check_shapes(found, expected, name)
    encoder = {ours: named.tensor.contiguous() for ours, named in found.items()}
    return FastaiModel(
        layout=_layout(state, prefix, rnn, head),
        config=config,
        decoder_bias=encoder.pop("decoder_bias", None),
        encoder=encoder,
        head=head,
        notes=[*notes, *decoder_notes],
    )


def _encoder_prefix(state: Mapping[str, Tensor], name: str) -> str:
    """Return what precedes the encoder's names: it is alone, or part of a model."""
    prefixes = [
        m[1] for key in state if (m := re.fullmatch(r"(.*\.|)encoder\.weight", key))
    ]
    for prefix in prefixes:
        if any(key.startswith(f"{prefix}rnns.") for key in state):
            return prefix
    raise ValueError(
        f"{name} holds no AWD-LSTM: it has no encoder.weight with rnns.0.*, but "
        f"{', '.join(list(state)[:3])}. Only the weights of AWD-LSTMs can be read."
    )


def _layer_numbers(state: Mapping[str, Tensor], prefix: str, name: str) -> List[int]:
    pattern = re.compile(rf"{re.escape(prefix)}rnns\.(\d+)\.")
    numbers = sorted({int(m[1]) for key in state if (m := pattern.match(key))})
    missing = next((i for i, number in enumerate(numbers) if number != i), None)
    if missing is not None:
        raise ValueError(
            f"{name} lacks the layer {prefix}rnns.{missing}, but has rnns.{numbers[-1]}. "
            "Was it saved completely?"
        )
    return numbers


def _rnn_kind(state: Mapping[str, Tensor], prefix: str, name: str) -> str:
    """Return whether the layers are LSTMs or QRNNs."""
    keys = [key for key in state if key.startswith(f"{prefix}rnns.")]
    reverse = [key for key in keys if key.endswith("_reverse")]
    if reverse:
        raise ValueError(
            f"{name} reads text in both directions at once ({reverse[0]}), as language "
            "models of ULMFiT do not. Only models of one direction can be read."
        )
    linear = ["linear." in key for key in keys]
    if any(linear) and not all(linear):
        raise ValueError(
            f"{name} has layers of two kinds: {keys[linear.index(True)]} is a QRNN's, "
            f"{keys[linear.index(False)]} an LSTM's. It holds another network."
        )
    return QRNN if any(linear) else LSTM


def _read_lstm(tensors: Tensors, prefix: str) -> Dict[str, Named]:
    module = f"{prefix}module."
    layer = {}
    for part in _LSTM_PARTS:
        keys = [f"{module}{part}", f"{prefix}{part}"]
        if part == "weight_hh_l0":
            # The raw matrix is the weight; the other may be what dropout left of it.
            keys = [f"{prefix}{part}_raw", f"{module}{part}_raw", *keys]
        layer[part] = tensors.get(*keys)
    return layer


def _read_qrnn(tensors: Tensors, prefix: str) -> Dict[str, Named]:
    roots = [f"{prefix}{linear}" for linear in _QRNN_LINEARS]
    kinds = ("weight_raw", "module.weight_raw", "module.weight", "weight")
    return {
        "linear.weight": tensors.get(*(r + kind for kind in kinds for r in roots)),
        "linear.bias": tensors.get(
            *(r + kind for kind in ("module.bias", "bias") for r in roots)
        ),
    }


def _config(found: Mapping[str, Named], rnn: str, name: str) -> AWDLSTMConfig:
    embedding = found["embedding.weight"]
    if embedding.tensor.dim() != 2:
        raise ValueError(
            f"{name}: {embedding.key} has the shape {tuple(embedding.tensor.shape)}, but "
            "must have a row for each word. The file is damaged."
        )
    n_words, width = embedding.tensor.shape
    n_layers = len({ours.split(".")[1] for ours in found if ours.startswith("layers.")})
    hidden = width
    if n_layers > 1 and rnn == QRNN:
        hidden = found["layers.0.linear.bias"].tensor.numel() // 3
    elif n_layers > 1:
        hidden = found["layers.0.bias_hh_l0"].tensor.numel() // 4
    return AWDLSTMConfig(
        n_words=n_words,
        embedding_dim=width,
        hidden_dim=hidden,
        n_layers=n_layers,
        rnn=rnn,
    )


def _read_copies(tensors: Tensors, prefix: str, embedding: Named) -> List[str]:
    """Compare the embedding with the copies that its dropout has of it."""
    copies = [tensors.find(f"{prefix}{copy}") for copy in _COPIES.values()]
    return [
        f"{tensors.name}: {copy.key} is another matrix than {embedding.key}, though it "
        "should be a copy; the latter was taken."
        for copy in copies
        if copy is not None and not torch.equal(copy.tensor, embedding.tensor)
    ]


def _read_decoder(
    tensors: Tensors, embedding: Named
) -> Tuple[Optional[Named], List[str]]:
    keys = [
        key for key in tensors.unread if re.fullmatch(r"(.*\.|)decoder\.weight", key)
    ]
    if not keys:
        return None, []
    weight = tensors.get(keys[0])
    bias_key = f"{keys[0].removesuffix('weight')}bias"
    bias = tensors.find(bias_key)
    if bias is None:
        bias = Named(bias_key, embedding.tensor.new_zeros(len(embedding.tensor)))
    if torch.equal(weight.tensor, embedding.tensor):
        return bias, []
    return None, [
        f"{tensors.name}: {weight.key} is another matrix than {embedding.key}, but a model "
        "here predicts words by its embedding. The decoder was left out; "
        "'python -m spacy lm finetune' trains a new one."
    ]


def _layout(
    state: Mapping[str, Tensor], prefix: str, rnn: str, head: Optional[Head]
) -> str:
    if head is not None:
        return head.layout
    if f"{prefix}{_COPIES[V07]}" in state:
        return V07
    if f"{prefix}{_COPIES[V1]}" not in state:
        return AWD_LSTM_LM
    # v2 stopped saving the matrix that dropout has been applied to, and has no QRNN.
    duplicates = f"{prefix}rnns.0.module.weight_hh_l0" in state
    return V1 if duplicates or rnn == QRNN else V2
