"""ULMFiT's classifier as a thinc model: documents in, a score per label out."""

from typing import Any, Callable, List, Literal, Optional, Sequence, Tuple, cast

import torch
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model, torch2xp, xp2torch
from thinc.types import Floats2d
from torch import Tensor

from ..checkpoints import Storage
from ..modules.classifier import ULMFiTClassifier
from ..modules.products import Precision
from ..text import TokenRules
from .awd_lstm import ENCODER_DROPOUTS, encoder_settings
from .awd_lstm_shim import AWDLSTMShim
from .label_growth import resize_output

ClassifierT = Model[List[Doc], Floats2d]

RUNTIME = (
    "head_dropout",
    "hidden_dropout",
    "bptt",
    "max_len",
    "gradient_windows",
    "alpha",
    "beta",
)


@registry.architectures("spacy-elmo-ulmfit.ULMFiTClassifier.v1")
def build_ulmfit_classifier(
    embedding_dim: int = 400,
    hidden_dim: int = 1152,
    n_layers: int = 3,
    rnn: Literal["lstm", "qrnn"] = "lstm",
    input_dropout: float = 0.4,
    hidden_dropout: float = 0.3,
    output_dropout: float = 0.4,
    embedding_dropout: float = 0.05,
    weight_dropout: float = 0.5,
    drop_mult: float = 0.5,
    head_dim: int = 50,
    head_dropout: float = 0.1,
    bptt: int = 70,
    max_len: int = 1400,
    gradient_windows: int = 1,
    alpha: float = 2.0,
    beta: float = 1.0,
    lr_decay: float = 2.6,
    max_grad_norm: float = 25.0,
    batch_size: int = 256,
    direction: Literal["forward", "backward"] = "forward",
    tokens: TokenRules = "v2",
    storage: Storage = "float32",
    precision: Precision = "fp32",
    nO: Optional[int] = None,
) -> ClassifierT:
    """Build ULMFiT's text classifier (Howard & Ruder 2018, arXiv:1801.06146).

    Sizes and dropouts are by default the published ones. The sizes of the encoder
    must be those of the language model it is initialised from.

    embedding_dim (int): Width of embeddings, and of the last layer's output.
    hidden_dim (int): Width of the layers between.
    n_layers (int): Number of recurrent layers.
    rnn (str): What they are: `"lstm"`, or `"qrnn"` as in MultiFiT.
    input_dropout (float): Locked dropout of the embedded input.
    hidden_dropout (float): Locked dropout between layers.
    output_dropout (float): Dropout of the pooled document.
    embedding_dropout (float): Dropout of whole words.
    weight_dropout (float): Dropout of the hidden-to-hidden matrices, or of a QRNN's.
    drop_mult (float): Factor of the dropouts above.
    head_dim (int): Width of the head's hidden layer.
    head_dropout (float): Dropout of the head's hidden layer.
    bptt (int): Length of the windows a document is read in when it is trained on,
        and by which `max_len` counts.
    max_len (int): Only windows that start within a document's last `max_len` words,
        and its last window, are pooled and get a gradient; the earlier ones are read
        for the state they leave. 0 for all windows.
    gradient_windows (int): How many windows gradients pass through; the published
        models keep them within one.
    alpha (float): Weight of AR, the mean square of a document's outputs, in training.
    beta (float): Weight of TAR, the mean square of the differences between outputs
        of neighbouring words, in training.
    lr_decay (float): Factor between the learning rates of neighbouring layer groups.
    max_grad_norm (float): Bound of the global norm of all gradients, 0 for none.
    batch_size (int): Documents computed at a time in prediction.
    direction (str): `"forward"`, or `"backward"` to read documents from their end.
    tokens (str): Rules by which a new encoder reads text; trained ones have theirs.
    storage (str): Type the weights are stored in: `"float32"`, `"float16"` or `"int8"`.
    precision (str): Type of the numbers that the recurrent layers multiply in prediction:
        `"fp32"`, or `"bf16"` or `"int8"` for nearly the same results in less time on
        processors that multiply those; on others it is `"fp32"`, and the log says so.
    nO (Optional[int]): Number of labels, set when the component is initialised.
    RETURNS (Model[List[Doc], Floats2d]): Scores, `(n_docs, n_labels)`.
    RAISES (ValueError): If `bptt` or `gradient_windows` is not at least 1.
    """
    for name, value in (("bptt", bptt), ("gradient_windows", gradient_windows)):
        if value < 1:
            raise ValueError(
                f"{name} = {value} in spacy-elmo-ulmfit.ULMFiTClassifier.v1 is not a "
                "number of words or windows; give at least 1."
            )
    encoder = encoder_settings(
        embedding_dim=embedding_dim,
        hidden_dim=hidden_dim,
        n_layers=n_layers,
        rnn=rnn,
        input_dropout=input_dropout * drop_mult,
        hidden_dropout=hidden_dropout * drop_mult,
        # As published: the outputs are pooled as they are.
        output_dropout=0.0,
        embedding_dropout=embedding_dropout * drop_mult,
        weight_dropout=weight_dropout * drop_mult,
        direction=direction,
        decoder=False,
    )
    settings = {
        "encoder": encoder,
        "hidden_dim": head_dim,
        "head_dropout": output_dropout * drop_mult,
        "hidden_dropout": head_dropout,
        "bptt": bptt,
        "max_len": max_len,
        "gradient_windows": gradient_windows,
        "alpha": alpha,
        "beta": beta,
    }
    shim = AWDLSTMShim(
        kind=ULMFiTClassifier.kind,
        settings=settings,
        runtime=RUNTIME,
        nested_runtime={"encoder": ENCODER_DROPOUTS},
        tokens=tokens,
        storage=storage,
        precision=precision,
        lr_decay=lr_decay,
        max_grad_norm=max_grad_norm,
    )
    return Model(
        "ulmfit_classifier",
        forward,
        init=init,
        dims={"nO": nO},
        attrs={
            "multi_label": False,
            "batch_size": batch_size,
            "resize_output": resize_output,
        },
        shims=[shim],
    )


def init(model: ClassifierT, X: Any = None, Y: Any = None) -> ClassifierT:
    """Take the number of labels from the data."""
    if model.has_dim("nO") is None and Y is not None:
        model.set_dim("nO", Y.shape[1])
    return model


def forward(
    model: ClassifierT, docs: List[Doc], is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], List[Doc]]]:
    """Score documents; an empty one is read as `xxbos` alone."""
    shim = cast(AWDLSTMShim, model.shims[0])
    documents = [shim.words_of(doc) for doc in docs]
    scores, backprop_words = score_words(model, documents, is_train)

    def backprop(d_scores: Floats2d) -> List[Doc]:
        backprop_words(d_scores)
        return docs

    return scores, backprop


def score_words(
    model: ClassifierT, documents: Sequence[Sequence[str]], is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], None]]:
    """Score documents that were read already.

    The callback takes `scores - truth`, the gradient of the cross-entropy with
    respect to the logits, and averages it over the batch. The gradient of AR and TAR
    is added to it.

    model (Model[List[Doc], Floats2d]): A `ULMFiTClassifier.v1`.
    documents (Sequence[Sequence[str]]): The words of each, at least one, in the order
        they are read.
    is_train (bool): Whether this is training.
    RETURNS (Tuple[Floats2d, Callable]): Scores, `(n_docs, n_labels)`, and the callback.
    """
    shim, module = _parts(model)
    module.train(is_train)
    size = len(documents) if is_train else model.attrs["batch_size"]
    batches = _batches(documents, size)
    with torch.set_grad_enabled(is_train):
        pieces = [
            module.classify(*shim.word_ids([documents[i] for i in batch]))
            for batch in batches
        ]
        logits = _in_order([piece.logits for piece in pieces], batches)
    return _scores(model, logits, [piece.penalty for piece in pieces])


def pool_words(model: ClassifierT, documents: Sequence[Sequence[str]]) -> Tensor:
    """Read documents as in prediction, up to the head.

    model (Model[List[Doc], Floats2d]): A `ULMFiTClassifier.v1`.
    documents (Sequence[Sequence[str]]): The words of each, at least one, in the order
        they are read.
    RETURNS (Tensor): What the head classifies. *Shape:* `(n_docs, 3 * embedding_dim)`
    """
    shim, module = _parts(model)
    module.eval()
    batches = _batches(documents, model.attrs["batch_size"])
    with torch.no_grad():
        pieces = [
            module.pool(*shim.word_ids([documents[i] for i in batch]))
            for batch in batches
        ]
        return _in_order(pieces, batches)


def score_pooled(
    model: ClassifierT, pooled: Tensor
) -> Tuple[Floats2d, Callable[[Floats2d], None]]:
    """Score documents in training, of which only the head is to learn.

    model (Model[List[Doc], Floats2d]): A `ULMFiTClassifier.v1`.
    pooled (Tensor): What `pool_words` returned. *Shape:* `(n_docs, 3 * embedding_dim)`
    RETURNS (Tuple[Floats2d, Callable]): As `score_words`.
    """
    _, module = _parts(model)
    module.train()
    return _scores(model, module.head(pooled), [])


def _parts(model: ClassifierT) -> Tuple[AWDLSTMShim, ULMFiTClassifier]:
    shim = cast(AWDLSTMShim, model.shims[0])
    return shim, cast(ULMFiTClassifier, shim.module)


def _batches(documents: Sequence[Sequence[str]], size: int) -> List[List[int]]:
    """Put documents of like length together: what is padded need not be computed."""
    order = sorted(range(len(documents)), key=lambda i: -len(documents[i]))
    size = max(1, size)
    return [order[start : start + size] for start in range(0, len(order), size)]


def _in_order(pieces: Sequence[Tensor], batches: Sequence[Sequence[int]]) -> Tensor:
    """Put the rows of batches where their documents were."""
    places = torch.tensor([i for batch in batches for i in batch])
    return torch.cat(list(pieces))[torch.argsort(places)]


def _scores(
    model: ClassifierT, logits: Tensor, penalties: Sequence[Tensor]
) -> Tuple[Floats2d, Callable[[Floats2d], None]]:
    """Return scores, and the callback of `score_words`."""
    if model.attrs["multi_label"]:
        scores = torch.sigmoid(logits.detach())
    else:
        scores = torch.softmax(logits.detach(), dim=1)

    def backprop(d_scores: Floats2d) -> None:
        gradient = xp2torch(d_scores / len(logits), device=logits.device)
        losses = [(logits, gradient.to(logits.dtype))]
        losses += [(penalty, torch.ones_like(penalty)) for penalty in penalties]
        # What is frozen has no gradient.
        losses = [(loss, d_loss) for loss, d_loss in losses if loss.requires_grad]
        if losses:
            torch.autograd.backward(
                [loss for loss, _ in losses], [d_loss for _, d_loss in losses]
            )

    return cast(Floats2d, torch2xp(scores)), backprop
