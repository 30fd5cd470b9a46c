"""Which words of a document made ULMFiT's classifier decide.

Gradients with respect to the embeddings pass through every window that is pooled and
through the state between them, and need the memory of one window.
"""

from copy import copy
from typing import Optional, Sequence, Tuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from .awd_lstm import AWDLSTM, AWDLSTMOutput, AWDLSTMState
from .classifier import ULMFiTClassifier
from .pooling import DocumentPool
from .windows import read_windows


def label_probabilities(logits: Tensor, multi_label: bool) -> Tensor:
    """Turn logits into a probability for each label.

    logits (Tensor): *Shape:* `(batch, n_labels)`
    multi_label (bool): Whether labels do not exclude each other.
    RETURNS (Tensor): The same shape, in double precision: in single precision the
        gradient of a sure decision would be lost.
    """
    logits = logits.double()
    return torch.sigmoid(logits) if multi_label else torch.softmax(logits, dim=1)


def intrinsic_attention(
    model: ULMFiTClassifier, ids: Tensor, label: int, *, multi_label: bool
) -> Tensor:
    """Measure how much a label's probability depends on each word.

    That is the sequential Jacobian (Graves 2012, Supervised Sequence Labelling with
    Recurrent Neural Networks) of one output, summed over the embedding's dimensions:
    `sum_d |dp / dx_d|`.

    model (ULMFiTClassifier): The classifier.
    ids (Tensor): Word ids of one document. *Shape:* `(n_steps,)`
    label (int): Number of the label.
    multi_label (bool): Whether labels do not exclude each other.
    RETURNS (Tensor): Without sign and not scaled. *Shape:* `(n_steps,)`
    """
    _, gradient = _embedding_gradient(model, ids, label, multi_label)
    return gradient.abs().sum(dim=1)


def input_gradients(
    model: ULMFiTClassifier, ids: Tensor, label: int, *, multi_label: bool
) -> Tensor:
    """Measure what each word adds to a label's probability, to the first order.

    That is embedding times gradient (Shrikumar et al. 2016, arXiv:1605.01713):
    `sum_d x_d dp / dx_d`.

    model (ULMFiTClassifier): The classifier.
    ids (Tensor): Word ids of one document. *Shape:* `(n_steps,)`
    label (int): Number of the label.
    multi_label (bool): Whether labels do not exclude each other.
    RETURNS (Tensor): Positive for words that speak for the label. *Shape:* `(n_steps,)`
    """
    embedded, gradient = _embedding_gradient(model, ids, label, multi_label)
    return (embedded * gradient).sum(dim=1)


def occlusion(
    model: ULMFiTClassifier,
    ids: Tensor,
    label: int,
    groups: Sequence[Sequence[int]],
    *,
    unknown_id: int,
    multi_label: bool,
    batch_size: int = 64,
) -> Tensor:
    """Measure what a label's probability loses when words are hidden.

    model (ULMFiTClassifier): The classifier.
    ids (Tensor): Word ids of one document. *Shape:* `(n_steps,)`
    label (int): Number of the label.
    groups (Sequence[Sequence[int]]): Positions that are hidden together.
    unknown_id (int): Id of the unknown word, which stands where words are hidden.
    multi_label (bool): Whether labels do not exclude each other.
    batch_size (int): Documents computed at a time.
    RETURNS (Tensor): Positive for words that speak for the label. *Shape:* `(n_groups,)`
    """
    model.eval()
    whole = _probabilities(model, ids[None], label, multi_label)
    pieces = [whole.new_empty(0)]
    for start in range(0, len(groups), batch_size):
        hidden = groups[start : start + batch_size]
        documents = ids.repeat(len(hidden), 1)
        for document, positions in zip(documents, hidden):
            document[list(positions)] = unknown_id
        pieces.append(whole - _probabilities(model, documents, label, multi_label))
    return torch.cat(pieces)


@torch.no_grad()
def _probabilities(
    model: ULMFiTClassifier, documents: Tensor, label: int, multi_label: bool
) -> Tensor:
    logits = model(documents.flatten(), [documents.shape[1]] * len(documents))
    return label_probabilities(logits, multi_label)[:, label]


def _embedding_gradient(
    model: ULMFiTClassifier, ids: Tensor, label: int, multi_label: bool
) -> Tuple[Tensor, Tensor]:
    """Return a document's embeddings and the gradient of a label's probability."""
    model.eval()
    config, pool = model.config, DocumentPool(1)
    embedded = model.encoder.embedding.weight.detach()[ids].requires_grad_()
    encoder, positions = _by_position(model.encoder, embedded)
    # cuDNN has no gradient for a network that is not in training.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        for window in read_windows(
            encoder,
            positions,
            [len(ids)],
            config.bptt,
            max_len=config.max_len,
            gradient_windows=len(ids),
        ):
            pool.add(window)
        logits = model.head(pool.pooled())
        probability = label_probabilities(logits, multi_label)[0, label]
        (gradient,) = torch.autograd.grad(probability, embedded)
    return embedded.detach(), gradient


def _by_position(encoder: AWDLSTM, embedded: Tensor) -> Tuple[AWDLSTM, Tensor]:
    """Return an encoder that reads positions of a document, and the positions.

    In its stand-in for the embedding matrix every position has a row of its own,
    behind the padding's, which has no gradient. The graph of a window is built again
    in the backward pass, from the state it started with.
    """
    first = encoder.config.padding_idx + 1
    rows = torch.cat([embedded.new_zeros(first, embedded.shape[1]), embedded])

    def encode(ids: Tensor, state: Optional[AWDLSTMState]) -> AWDLSTMOutput:
        weights = {"encoder.embedding.weight": rows}
        return functional_call(reader, weights, (ids, state))

    def recompute(ids: Tensor, state: Optional[AWDLSTMState]) -> AWDLSTMOutput:
        return checkpoint(encode, ids, state, use_reentrant=False)

    reader = _Reader(encoder)
    by_position = copy(encoder)
    by_position.encode = recompute  # type: ignore[assignment, method-assign]
    return by_position, torch.arange(first, len(rows), device=embedded.device)


class _Reader(nn.Module):
    """An encoder whose `forward` is `AWDLSTM.encode`.

    encoder (AWDLSTM): The encoder.
    """

    def __init__(self, encoder: AWDLSTM) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, ids: Tensor, state: Optional[AWDLSTMState]) -> AWDLSTMOutput:
        """See `AWDLSTM.encode`."""
        return self.encoder.encode(ids, state)
