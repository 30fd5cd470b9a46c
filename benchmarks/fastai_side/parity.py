"""The part of `fastai_parity.py` that needs fastai; it knows nothing of this project.

python parity.py FOLDER

Weights are random. fastai cannot be built with `weight_p = 0` (`WeightDropout` then fails
in its first `reset`), so its encoder computes losses in eval mode, where its dropouts are
off and its gradients are the same.
"""

import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, List, NamedTuple, Tuple

import fastai
import numpy
import torch
import torch.nn.functional as F
from fastai.callback.rnn import RNNRegularizer
from fastai.text.data import pad_chunk
from fastai.text.models.awdlstm import (
    AWD_LSTM,
    awd_lstm_clas_config,
    awd_lstm_lm_config,
)
from fastai.text.models.core import get_language_model, get_text_classifier

ALPHA, BETA = 2.0, 1.0
PADDING = 1
N_LABELS, N_DOCUMENTS = 3, 8


class Size(NamedTuple):
    """Sizes of a model, and of what it reads."""

    emb_sz: int
    n_hid: int
    n_layers: int
    n_words: int
    batch_size: int
    n_steps: int
    seq_len: int
    max_len: int
    lengths: Tuple[int, ...]


SIZES = {
    "small": Size(
        20, 30, 3, 400, 4, 12, 8, 40,
        (100, 49, 48, 47, 41, 40, 39, 33, 17, 16, 9, 8, 7, 2, 1),
    ),
    "published": Size(
        400, 1152, 3, 30000, 4, 20, 72, 1440,
        (1600, 1513, 1512, 1441, 1440, 500, 145, 144, 73, 72, 71, 1),
    ),
}  # fmt: skip
N_WINDOWS = 3


def main(folder: Path) -> None:
    """Compute everything for both sizes."""
    for name, size in SIZES.items():
        torch.manual_seed(0)
        arrays = {**read_text(folder, name, size), **classify(folder, name, size)}
        numpy.savez(folder / f"{name}.npz", **arrays)
    described = {
        "versions": {"fastai": fastai.__version__, "torch": torch.__version__},
        "alpha": ALPHA,
        "beta": BETA,
        "sizes": {name: size._asdict() for name, size in SIZES.items()},
    }
    (folder / "parity.json").write_text(json.dumps(described), encoding="utf-8")


def read_text(folder: Path, name: str, size: Size) -> Dict[str, Any]:
    """Read windows of text with a language model, and learn from the last one."""
    config = {**awd_lstm_lm_config, **encoder_sizes(size)}
    model = get_language_model(AWD_LSTM, size.n_words, config=config).eval()
    torch.nn.init.normal_(model[1].decoder.bias, std=0.1)
    torch.save(model.state_dict(), folder / f"{name}_lm.pth")
    n_steps = N_WINDOWS * size.n_steps
    ids = torch.randint(2, size.n_words, (size.batch_size, n_steps + 1))
    arrays = {"ids": ids.numpy()}
    outputs: List[Any] = []
    for rnn in model[0].rnns:
        rnn.register_forward_hook(lambda _, inputs, output: outputs.append(output[0]))
    model.reset()
    for number in range(N_WINDOWS):
        outputs.clear()
        window = slice(number * size.n_steps, (number + 1) * size.n_steps)
        logits, raw, dropped = model(ids[:, window])
        arrays[f"logits_{number}"] = logits.detach().numpy()
        for layer, (output, state) in enumerate(zip(outputs, model[0].hidden)):
            arrays[f"output_{number}_{layer}"] = output.detach().numpy()
            arrays[f"hidden_{number}_{layer}"] = state[0].numpy()
            arrays[f"cell_{number}_{layer}"] = state[1].numpy()
    targets = ids[:, window.start + 1 : window.stop + 1]
    loss = F.cross_entropy(logits.flatten(0, 1), targets.flatten())
    arrays["lm_loss"] = regularized(loss, raw, dropped)
    torch.save(gradients(model), folder / f"{name}_lm_gradients.pth")
    return arrays


def classify(folder: Path, name: str, size: Size) -> Dict[str, Any]:
    """Classify documents one by one and together, and learn from some of one length."""
    config = {**awd_lstm_clas_config, **encoder_sizes(size), "output_p": 0.0}
    model = get_text_classifier(
        AWD_LSTM,
        size.n_words,
        N_LABELS,
        config=config,
        seq_len=size.seq_len,
        max_len=size.max_len,
        ps=[0.0],
    ).eval()
    # Documents must differ: batch norms magnify what little random ones differ by.
    torch.nn.init.normal_(model[0].module.encoder.weight)
    for rnn in model[0].module.rnns:
        rnn.weight_hh_l0_raw.data.mul_(3.0)
        rnn.module.weight_ih_l0.data.mul_(3.0)
    norms: List[Any] = [m for m in model[1].modules() if hasattr(m, "running_mean")]
    for norm in norms:
        torch.nn.init.uniform_(norm.running_mean, -0.1, 0.1)
        torch.nn.init.uniform_(norm.running_var, 0.01, 0.1)
    torch.save(model.state_dict(), folder / f"{name}_classifier.pth")
    documents = [torch.randint(2, size.n_words, (n,)) for n in size.lengths]
    pooled = torch.randn(5, 3 * size.emb_sz)
    with torch.no_grad():
        # Whole windows of padding come first, as its data loaders put them.
        batch = torch.stack(
            [
                pad_chunk(ids, PADDING, seq_len=size.seq_len, pad_len=len(documents[0]))
                for ids in documents
            ]
        )
        alone = torch.cat([model(ids[None])[0] for ids in documents])
        together, head = model(batch)[0], model[1].layers(pooled)
    # Of one length, so that padding, which fastai counts, is not there.
    length = size.max_len + 3 * size.seq_len // 2
    training = torch.randint(2, size.n_words, (N_DOCUMENTS, length))
    model[1].train()
    logits, raw, dropped = model(training)
    loss = F.cross_entropy(logits, torch.arange(N_DOCUMENTS) % N_LABELS)
    loss = regularized(loss, raw, dropped)
    torch.save(gradients(model), folder / f"{name}_classifier_gradients.pth")
    return {
        "documents": torch.cat(documents).numpy(),
        "alone": alone.numpy(),
        "together": together.numpy(),
        "pooled": pooled.numpy(),
        "head": head.numpy(),
        "training": training.numpy(),
        "training_logits": logits.detach().numpy(),
        "classifier_loss": loss,
    }


def encoder_sizes(size: Size) -> Dict[str, int]:
    """Return the part of a config that gives the encoder's sizes."""
    return {name: getattr(size, name) for name in ("emb_sz", "n_hid", "n_layers")}


def regularized(loss: Any, raw: Any, dropped: Any) -> Any:
    """Add AR and TAR by fastai's callback, and compute gradients; return the loss."""
    callback = RNNRegularizer(ALPHA, BETA)
    outputs = SimpleNamespace(raw_out=raw, out=dropped)
    callback.learn = SimpleNamespace(training=True, loss_grad=loss, rnn=outputs)
    callback.after_loss()
    callback.learn.loss_grad.backward()
    return callback.learn.loss_grad.detach().numpy()


def gradients(model: Any) -> Dict[str, Any]:
    """Return the gradients under the names of the weights."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    return {
        name: parameters[name].grad if name in parameters else value
        for name, value in model.state_dict().items()
    }


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    main(Path(sys.argv[1]))
