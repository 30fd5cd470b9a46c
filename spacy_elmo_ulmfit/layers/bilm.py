"""ELMo's biLM as a thinc model: documents in, all layers of every token out."""

from dataclasses import asdict
from typing import Callable, List, Literal, Optional, Sequence, Tuple, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats3d

from ..modules.bilm import BiLM, BiLMConfig
from ..text.batches import SequenceBatch, sequence_batches
from ..text.characters import words_to_chars
from .shim import LanguageModelShim
from .types import DocLayers, LanguageModelT


@registry.architectures("spacy-elmo-ulmfit.BiLM.v1")
def build_bilm_model(
    char_dim: int = 16,
    filters: Sequence[Sequence[int]] = BiLMConfig.filters,
    n_highway: int = 1,
    activation: Literal["relu", "tanh"] = "relu",
    max_chars: int = 50,
    cell_dim: int = 1024,
    projection_dim: int = 128,
    n_layers: int = 2,
    cell_clip: Optional[float] = 3.0,
    proj_clip: Optional[float] = 3.0,
    residual: bool = True,
    dropout: float = 0.1,
    initial_state: Literal["warm", "zeros"] = "warm",
    max_batch_tokens: int = 4096,
    storage: Literal["float32", "float16"] = "float32",
) -> LanguageModelT:
    """Build ELMo's biLM (Peters et al. 2018, arXiv:1802.05365).

    The defaults are the sizes of the published small English model.

    char_dim (int): Width of a character embedding.
    filters (Sequence[Sequence[int]]): `[width, number]` of each convolution.
    n_highway (int): Number of highway layers.
    activation (str): Activation of the convolutions, `"relu"` or `"tanh"`.
    max_chars (int): Characters per word, the two word markers included.
    cell_dim (int): Width of the LSTM cells.
    projection_dim (int): Width of one direction's output; a layer is twice as wide.
    n_layers (int): Number of LSTM layers per direction.
    cell_clip (Optional[float]): Bound of the LSTM cells, `null` for none.
    proj_clip (Optional[float]): Bound of the LSTM outputs, `null` for none.
    residual (bool): Whether layers above the first add their input to their output.
    dropout (float): Dropout while the biLM itself is trained.
    initial_state (str): What sequences start from: `"warm"`, the state after one
        neutral sentence, stored with the weights, or `"zeros"`.
    max_batch_tokens (int): Most tokens computed at a time in prediction.
    storage (str): Type the weights are stored in, `"float32"` or `"float16"`.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each document
        `(n_layers + 1, n_tokens, 2 * projection_dim)`.
    """
    config = BiLMConfig(
        char_dim=char_dim,
        filters=tuple((width, number) for width, number in filters),
        n_highway=n_highway,
        activation=activation,
        max_chars=max_chars,
        cell_dim=cell_dim,
        projection_dim=projection_dim,
        n_layers=n_layers,
        cell_clip=cell_clip,
        proj_clip=proj_clip,
        residual=residual,
        dropout=dropout,
    )
    widest = max(width for width, _ in config.filters)
    if widest > max_chars:
        raise ValueError(
            f"filters has a width of {widest}, wider than a word of "
            f"max_chars = {max_chars} characters."
        )
    settings = asdict(config)
    del settings["n_words"]
    shim = LanguageModelShim(
        kind=BiLM.kind, settings=settings, runtime=["dropout"], storage=storage
    )
    return Model(
        "bilm",
        forward,
        dims={"nO": 2 * projection_dim},
        attrs={
            "n_outputs": n_layers + 1,
            "initial_state": initial_state,
            "max_batch_tokens": max_batch_tokens,
        },
        shims=[shim],
    )


def forward(
    model: LanguageModelT, docs: List[Doc], is_train: bool
) -> Tuple[DocLayers, Callable[[DocLayers], List[Doc]]]:
    """Compute all layers; white space tokens get rows of zeros."""
    shim = cast(LanguageModelShim, model.shims[0])
    module = cast(BiLM, shim.module)
    module.train(is_train)
    n_outputs, width = model.attrs["n_outputs"], model.get_dim("nO")
    outputs: DocLayers = [
        cast(Floats3d, model.ops.alloc3f(n_outputs, len(doc), width)) for doc in docs
    ]
    max_tokens = 0 if is_train else model.attrs["max_batch_tokens"]
    computed = []
    with torch.set_grad_enabled(is_train):
        for batch in sequence_batches(docs, max_tokens):
            layers = _encode(module, batch, model.attrs["initial_state"])
            _scatter(outputs, batch, cast(Floats3d, torch2xp(layers.detach())))
            if is_train:
                computed.append((batch, layers))

    def backprop(d_outputs: DocLayers) -> List[Doc]:
        for batch, layers in computed:
            gradient = _gather(d_outputs, batch, model)
            if layers.requires_grad:
                layers.backward(xp2torch(gradient, device=layers.device))
        return docs

    return outputs, backprop


def _encode(module: BiLM, batch: SequenceBatch, initial_state: str) -> torch.Tensor:
    device = module.warm_hidden.device
    chars = torch.from_numpy(words_to_chars(batch.words, module.config.max_chars))
    layers = module.encode(
        chars.to(device),
        torch.tensor(batch.word_index, device=device),
        batch.lengths,
        initial_state=cast(Literal["warm", "zeros"], initial_state),
    )
    return layers[:, torch.tensor(batch.positions, device=device)]


def _rows_by_doc(batch: SequenceBatch) -> List[Tuple[int, List[int], List[int]]]:
    """Group a batch's rows: document, rows of the batch, tokens of the document."""
    grouped: dict = {}
    for row, (doc, token) in enumerate(batch.owners):
        rows, tokens = grouped.setdefault(doc, ([], []))
        rows.append(row)
        tokens.append(token)
    return [(doc, rows, tokens) for doc, (rows, tokens) in grouped.items()]


def _scatter(outputs: DocLayers, batch: SequenceBatch, layers: Floats3d) -> None:
    for doc, rows, tokens in _rows_by_doc(batch):
        outputs[doc][:, tokens] = layers[:, rows]


def _gather(d_outputs: DocLayers, batch: SequenceBatch, model: Model) -> Floats3d:
    gradient = model.ops.alloc3f(
        model.attrs["n_outputs"], len(batch.owners), model.get_dim("nO")
    )
    for doc, rows, tokens in _rows_by_doc(batch):
        gradient[:, rows] = d_outputs[doc][:, tokens]
    return cast(Floats3d, gradient)
