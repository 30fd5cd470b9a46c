"""A bidirectional LSTM over token vectors, whatever their width."""

from typing import Any, Callable, List, Tuple, cast

import torch
from safetensors.torch import load as load_tensors
from spacy.util import registry
from thinc.api import (
    ArgsKwargs,
    Model,
    get_torch_default_device,
    get_width,
    torch2xp,
    xp2torch,
)
from thinc.types import Floats2d
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ..modules.packing import PackedLayout, unpack
from .shim import TorchShim

EncoderT = Model[List[Floats2d], List[Floats2d]]


@registry.architectures("spacy-elmo-ulmfit.BiLSTMEncoder.v1")
def build_bilstm_encoder(width: int, depth: int = 2, dropout: float = 0.2) -> EncoderT:
    """Build a bidirectional LSTM that reads token vectors of any width.

    `spacy.TorchBiLSTMEncoder.v1` wants vectors of its own width; here the width of
    what comes in, such as `[x; ELMo]`, is inferred when the model is initialized.

    width (int): Width of the output, both directions together.
    depth (int): Number of layers.
    dropout (float): Dropout between the layers.
    RETURNS (Model[List[Floats2d], List[Floats2d]]): `(n_tokens, n)` to
        `(n_tokens, width)` for each document.
    RAISES (ValueError): If `width` cannot be halved, or there are no layers.
    """
    if width < 2 or width % 2:
        raise ValueError(
            f"BiLSTMEncoder.v1 needs an even width, half of it for each direction, "
            f"but width = {width}."
        )
    if depth < 1:
        raise ValueError(f"BiLSTMEncoder.v1 needs a depth of at least 1, not {depth}.")
    return Model(
        "bilstm_encoder",
        forward,
        init=init,
        dims={"nI": None, "nO": width},
        shims=[LSTMShim(width // 2, depth, dropout)],
    )


class LSTMShim(TorchShim):
    """A bidirectional LSTM, built when the width of its input is known.

    That is when the model is initialized, or when weights are loaded.

    hidden_dim (int): Width of each direction.
    n_layers (int): Number of layers.
    dropout (float): Dropout between the layers.
    """

    def __init__(self, hidden_dim: int, n_layers: int, dropout: float) -> None:
        super().__init__()
        self.settings = {
            "hidden_size": hidden_dim,
            "num_layers": n_layers,
            # torch warns of dropout where there is nothing between layers.
            "dropout": dropout if n_layers > 1 else 0.0,
            "bidirectional": True,
        }

    @property
    def module(self) -> nn.LSTM:
        """The torch module; an error when it was not built yet."""
        if self._model is None:
            raise ValueError(
                "This BiLSTMEncoder.v1 does not know the width of its input yet: call "
                "nlp.initialize, or load weights."
            )
        return self._model

    def create(self, input_dim: int) -> None:
        """Build the module with fresh weights.

        input_dim (int): Width of the input.
        """
        module = nn.LSTM(input_dim, **self.settings)
        self._model = module.to(get_torch_default_device())

    def to_bytes(self) -> bytes:
        """Write the weights as a safetensors file; without a module, no bytes at all."""
        return b"" if self._model is None else super().to_bytes()

    def from_bytes(self, bytes_data: bytes) -> "LSTMShim":
        """Build the module from what `to_bytes` wrote."""
        if bytes_data:
            state = load_tensors(bytes_data)
            self.create(state["weight_ih_l0"].shape[1])
            self.module.load_state_dict(state)
        return self


def init(model: EncoderT, X: Any = None, Y: Any = None) -> EncoderT:
    """Take the width of the input from the data and build the LSTM."""
    if X is not None:
        model.set_dim("nI", get_width(X))
    cast(LSTMShim, model.shims[0]).create(model.get_dim("nI"))
    return model


def forward(
    model: EncoderT, inputs: List[Floats2d], is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Floats2d]]]:
    """Encode all documents at once, without padding; empty ones stay empty."""
    ops: Any = model.ops
    lengths = [len(vectors) for vectors in inputs]
    if not any(lengths):
        # No rows, so the inputs are their own gradient.
        return [ops.alloc2f(0, model.get_dim("nO")) for _ in inputs], lambda _: inputs
    tokens = xp2torch(ops.flatten(inputs), requires_grad=is_train)
    layout = PackedLayout.from_lengths([length for length in lengths if length])
    index = layout.forward_index.to(tokens.device)
    packed = PackedSequence(tokens[index], torch.tensor(layout.batch_sizes))
    (output, _), torch_backprop = model.shims[0](ArgsKwargs((packed,), {}), is_train)
    encoded = unpack(output.data, index)

    def backprop(d_encoded: List[Floats2d]) -> List[Floats2d]:
        gradient = xp2torch(ops.flatten(d_encoded))
        torch_backprop(ArgsKwargs(((encoded,),), {"grad_tensors": (gradient,)}))
        return ops.unflatten(torch2xp(cast(Tensor, tokens.grad)), lengths)

    return ops.unflatten(torch2xp(encoded.detach()), lengths), backprop
