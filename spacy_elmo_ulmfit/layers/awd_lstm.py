"""AWD-LSTM as a thinc model: documents in, embedding and top layer of every token out."""

from dataclasses import asdict
from typing import Any, Callable, Dict, List, Literal, Sequence, Tuple, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from torch import Tensor

from ..checkpoints import Storage
from ..modules.awd_lstm import AWDLSTM, AWDLSTMConfig
from ..modules.products import Precision
from ..modules.windows import read_documents
from ..text import LMTokens, TokenRules
from .awd_lstm_shim import AWDLSTMShim
from .types import DocLayers, LanguageModelT

ENCODER_DROPOUTS = (
    "input_dropout",
    "hidden_dropout",
    "output_dropout",
    "embedding_dropout",
    "weight_dropout",
)


@registry.architectures("spacy-elmo-ulmfit.AWDLSTM.v1")
def build_awd_lstm_model(
    embedding_dim: int = 400,
    hidden_dim: int = 1152,
    n_layers: int = 3,
    rnn: Literal["lstm", "qrnn"] = "lstm",
    input_dropout: float = 0.25,
    hidden_dropout: float = 0.15,
    output_dropout: float = 0.1,
    embedding_dropout: float = 0.02,
    weight_dropout: float = 0.2,
    bptt: int = 70,
    batch_size: int = 64,
    direction: Literal["forward", "backward"] = "forward",
    tokens: TokenRules = "v2",
    softmax_cutoffs: Sequence[int] = (),
    storage: Storage = "float32",
    precision: Precision = "fp32",
) -> LanguageModelT:
    """Build an AWD-LSTM language model (Merity et al. 2017, arXiv:1708.02182).

    Sizes and dropouts are by default those of ULMFiT's published models.

    embedding_dim (int): Width of embeddings, and of the last layer's output.
    hidden_dim (int): Width of the layers between.
    n_layers (int): Number of recurrent layers.
    rnn (str): What they are: `"lstm"`, or `"qrnn"` as in MultiFiT.
    input_dropout (float): Locked dropout of the embedded input.
    hidden_dropout (float): Locked dropout between layers.
    output_dropout (float): Locked dropout of the last layer's output.
    embedding_dropout (float): Dropout of whole words.
    weight_dropout (float): Dropout of the hidden-to-hidden matrices, or of a QRNN's.
    bptt (int): Length of the windows a document is read in.
    batch_size (int): Documents computed at a time in prediction.
    direction (str): `"forward"`, or `"backward"` to read documents from their end.
    tokens (str): Rules by which a new model reads text; trained ones have theirs.
    softmax_cutoffs (Sequence[int]): Where the clusters of an adaptive softmax begin
        (Grave et al. 2017), counted in words: `[2000, 10000]` has two. `[]` for a full
        softmax.
    storage (str): Type the weights are stored in: `"float32"`, `"float16"` or `"int8"`.
    precision (str): Type of the numbers that the recurrent layers multiply in prediction:
        `"fp32"`, or `"bf16"` or `"int8"` for nearly the same results in less time on
        processors that multiply those; on others it is `"fp32"`, and the log says so.
    RETURNS (Model[List[Doc], List[Floats3d]]): For each document
        `(2, n_tokens, embedding_dim)`: embeddings and top layer.
    """
    settings = encoder_settings(
        embedding_dim=embedding_dim,
        hidden_dim=hidden_dim,
        n_layers=n_layers,
        rnn=rnn,
        input_dropout=input_dropout,
        hidden_dropout=hidden_dropout,
        output_dropout=output_dropout,
        embedding_dropout=embedding_dropout,
        weight_dropout=weight_dropout,
        direction=direction,
        decoder=True,
        softmax_cutoffs=softmax_cutoffs,
    )
    shim = AWDLSTMShim(
        kind=AWDLSTM.kind,
        settings=settings,
        runtime=ENCODER_DROPOUTS,
        tokens=tokens,
        storage=storage,
        precision=precision,
    )
    return Model(
        "awd_lstm",
        forward,
        dims={"nO": embedding_dim},
        attrs={"n_outputs": 2, "bptt": bptt, "batch_size": batch_size},
        shims=[shim],
    )


def encoder_settings(**values: Any) -> Dict[str, Any]:
    """Return an AWD-LSTM's settings without the vocabulary's size."""
    settings = asdict(AWDLSTMConfig(n_words=0, **values))
    del settings["n_words"]
    return settings


def forward(
    model: LanguageModelT, docs: List[Doc], is_train: bool
) -> Tuple[DocLayers, Callable[[DocLayers], List[Doc]]]:
    """Compute embeddings and top layer; white space tokens get rows of zeros."""
    shim = cast(AWDLSTMShim, model.shims[0])
    module = cast(AWDLSTM, shim.module)
    module.train(is_train)
    width = model.get_dim("nO")
    outputs: Any = [model.ops.alloc3f(2, len(doc), width) for doc in docs]
    size = len(docs) if is_train else model.attrs["batch_size"]
    documents = [shim.read(doc) for doc in docs]
    order = sorted(range(len(docs)), key=lambda i: -len(documents[i].words))
    computed = []
    with torch.set_grad_enabled(is_train):
        for start in range(0, len(order), max(1, size)):
            numbers = order[start : start + size]
            tokens = [documents[i] for i in numbers]
            ids, lengths = shim.word_ids([document.words for document in tokens])
            layers = read_documents(module, ids, lengths, model.attrs["bptt"])
            first = 0
            for number, document in zip(numbers, tokens):
                places = last_positions(document, docs[number])
                read = [first + place for place in places.values()]
                outputs[number][:, list(places)] = torch2xp(layers[:, read].detach())
                if is_train:
                    computed.append((number, list(places), layers, read))
                first += len(document.words)

    def backprop(d_outputs: Any) -> List[Doc]:
        gradients: Dict[int, Tuple[Tensor, Tensor]] = {}
        for number, tokens, layers, read in computed:
            _, gradient = gradients.setdefault(
                id(layers), (layers, torch.zeros_like(layers))
            )
            d_rows = xp2torch(d_outputs[number][:, tokens]).to(gradient.device)
            index = torch.tensor(read, dtype=torch.long, device=gradient.device)
            gradient.index_add_(1, index, d_rows)
        for layers, gradient in gradients.values():
            if layers.requires_grad:
                layers.backward(gradient)
        return docs

    return outputs, backprop


def last_positions(document: LMTokens, doc: Doc) -> Dict[int, int]:
    """Map each token of the `Doc` to the last of its language model tokens.

    That is where the model has read the whole token. A token without any, as one of
    repeated words, takes the place of the next one.

    document (LMTokens): The document as the model reads it.
    doc (Doc): The document.
    RETURNS (Dict[int, int]): Places in `document`; white space has none, read or not.
    """
    places = {owner: i for i, owner in enumerate(document.owners) if owner >= 0}
    following = 0
    for token in reversed(list(doc)):
        if token.is_space:
            places.pop(token.i, None)
        else:
            following = places.setdefault(token.i, following)
    return places
