"""AWD-LSTMs and classifiers as fastai v2 reads them; QRNNs as v1 does."""

import json
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any, Dict, Mapping, Sequence

import torch
from torch import Tensor

from ..modules.awd_lstm import BACKWARD, QRNN
from ..modules.classifier import ULMFiTClassifier
from .native import Checkpoint
from .word_lists import unname_repeated

MODEL_FILE, ENCODER_FILE = "model.pth", "encoder.pth"
VOCABULARY_FILE, CONFIG_FILE = "vocab.pkl", "config.json"

_LSTM_PARTS = ("weight_ih_l0", "bias_ih_l0", "bias_hh_l0")
_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def write_fastai(
    folder: Path, checkpoint: Checkpoint, labels: Sequence[str] = ()
) -> None:
    """Write a language model or a classifier for fastai.

    `model.pth` is for `learn.load` and `load_pretrained`, `encoder.pth` for
    `load_encoder`, `vocab.pkl` for `load_pretrained` and `text_vocab`. `config.json` has
    what fastai's `config` must say of the sizes, the direction, and the labels.

    folder (Path): Where to write. It must exist.
    checkpoint (Checkpoint): An AWD-LSTM or a ULMFiT classifier.
    labels (Sequence[str]): A classifier's labels.
    RAISES (ValueError): If the format cannot hold the model.
    """
    state = {name: tensor.detach().cpu() for name, tensor in checkpoint.state.items()}
    settings, prefix = checkpoint.settings, ""
    is_classifier = checkpoint.kind == ULMFiTClassifier.kind
    if is_classifier:
        settings, prefix = settings["encoder"], "encoder."
    if settings["softmax_cutoffs"]:
        raise ValueError(
            "fastai has no adaptive softmax, but this AWD-LSTM has one (softmax_cutoffs = "
            f"{list(settings['softmax_cutoffs'])}), so it cannot be exported."
        )
    encoder = _encoder(state, settings, prefix)
    if is_classifier:
        model = {f"0.module.{name}": tensor for name, tensor in encoder.items()}
        model.update(_head(state))
    else:
        model = {f"0.{name}": tensor for name, tensor in encoder.items()}
        model["1.decoder.weight"] = encoder["encoder.weight"]
        model["1.decoder.bias"] = state["decoder_bias"]
    torch.save(OrderedDict(model), folder / MODEL_FILE)
    torch.save(OrderedDict(encoder), folder / ENCODER_FILE)
    words = unname_repeated(checkpoint.extra["vocabulary"]["words"])
    (folder / VOCABULARY_FILE).write_bytes(pickle.dumps(words, protocol=2))
    config = _config(settings, labels)
    text = json.dumps(config, indent=2, ensure_ascii=False) + "\n"
    (folder / CONFIG_FILE).write_text(text, encoding="utf-8")


def _encoder(
    state: Mapping[str, Tensor], settings: Mapping[str, Any], prefix: str
) -> Dict[str, Tensor]:
    """Return what `save_encoder` writes, in its order: some loaders go by that alone."""
    embedding = state[f"{prefix}embedding.weight"]
    encoder = {"encoder.weight": embedding, "encoder_dp.emb.weight": embedding}
    for i in range(settings["n_layers"]):
        ours, theirs = f"{prefix}layers.{i}.", f"rnns.{i}."
        if settings["rnn"] == QRNN:
            linear = f"{theirs}layers.0.linear."
            weight = state[f"{ours}linear.weight"]
            encoder[f"{linear}weight_raw"] = weight
            encoder[f"{linear}module.weight"] = weight
            encoder[f"{linear}module.bias"] = state[f"{ours}linear.bias"]
            continue
        encoder[f"{theirs}weight_hh_l0_raw"] = state[f"{ours}weight_hh_l0"]
        for part in _LSTM_PARTS:
            encoder[f"{theirs}module.{part}"] = state[f"{ours}{part}"]
    return encoder


def _head(state: Mapping[str, Tensor]) -> Dict[str, Tensor]:
    head = {}
    for number in range(2):
        weight, bias = (state[f"head.linears.{number}.{k}"] for k in ("weight", "bias"))
        for kind in _NORM:
            tensor = state[f"head.norms.{number}.{kind}"]
            if kind == "bias":
                tensor = tensor + _shift(weight, bias)
            head[f"1.layers.{number}.0.{kind}"] = tensor
        head[f"1.layers.{number}.2.weight"] = weight
    return head


def _shift(weight: Tensor, bias: Tensor) -> Tensor:
    """Return what added to a linear layer's input adds `bias` to its output.

    fastai's linear layers have no bias, but the batch norms before them have one.
    """
    if not bias.any():
        return weight.new_zeros(weight.shape[1])
    shift = torch.linalg.pinv(weight.double()) @ bias.double()
    if not torch.allclose(weight.double() @ shift, bias.double(), atol=1e-6):
        raise ValueError(
            "fastai's format has no place for the biases of this classifier's head: its "
            "labels are not independent. Export the encoder's language model instead."
        )
    return shift.to(weight.dtype)


def _config(settings: Mapping[str, Any], labels: Sequence[str]) -> Dict[str, Any]:
    sizes = {
        "emb_sz": settings["embedding_dim"],
        "n_hid": settings["hidden_dim"],
        "n_layers": settings["n_layers"],
    }
    if settings["rnn"] == QRNN:
        sizes["qrnn"] = True
    config = {"config": sizes, "backwards": settings["direction"] == BACKWARD}
    return {**config, "labels": list(labels)} if labels else config
