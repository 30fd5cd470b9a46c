"""Which words of a document made ULMFiT's classifier decide.

Gradients with respect to the embeddings pass through every window of the document and
through the state between them, and need the memory of one window.
"""

from typing import List, Sequence, Tuple, cast

import torch
from torch import Tensor
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from .awd_lstm import AWDLSTM, AWDLSTMState
from .classifier import ULMFiTClassifier
from .pooling import DocumentPool
from .windows import longest_rest


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
    whole = _probabilities(model, [ids], label, multi_label)
    pieces = [whole.new_empty(0)]
    for start in range(0, len(groups), batch_size):
        hidden = groups[start : start + batch_size]
        documents = [ids.clone() for _ in hidden]
        for document, positions in zip(documents, hidden):
            document[list(positions)] = unknown_id
        pieces.append(whole - _probabilities(model, documents, label, multi_label))
    return torch.cat(pieces)


@torch.no_grad()
def _probabilities(
    model: ULMFiTClassifier, documents: List[Tensor], label: int, multi_label: bool
) -> Tensor:
    logits = model(torch.cat(documents), [len(ids) for ids in documents])
    return label_probabilities(logits, multi_label)[:, label]


def _embedding_gradient(
    model: ULMFiTClassifier, ids: Tensor, label: int, multi_label: bool
) -> Tuple[Tensor, Tensor]:
    """Return a document's embeddings and the gradient of a label's probability."""
    model.eval()
    embedded = model.encoder.embedding.weight.detach()[ids].requires_grad_()
    # cuDNN has no gradient for a network that is not in training.
    with torch.enable_grad(), torch.backends.cudnn.flags(enabled=False):
        logits = model.head(_pool(model, embedded))
        probability = label_probabilities(logits, multi_label)[0, label]
        (gradient,) = torch.autograd.grad(probability, embedded)
    return embedded.detach(), gradient


def _pool(model: ULMFiTClassifier, embedded: Tensor) -> Tensor:
    """Read embedded words in the classifier's windows, with nothing cut off between.

    The graph of a window is built again in the backward pass, from the state it
    started with, so that a long document needs no more memory than its outputs.
    """
    config, pool, state = model.config, DocumentPool(1), model.encoder.zero_state(1)
    n_left = len(embedded)
    limit = longest_rest(n_left, config.bptt, config.max_len)
    row = torch.zeros(1, dtype=torch.long, device=embedded.device)
    for window in embedded.split(config.bptt):
        output, state = checkpoint(
            _read, model.encoder, window, state, use_reentrant=False
        )
        if n_left <= limit:
            is_word = torch.ones_like(output[:, :, 0], dtype=torch.bool)
            pool.add(row, is_word, output)
        n_left -= len(window)
    return pool.pooled()


def _read(
    encoder: AWDLSTM, embedded: Tensor, state: AWDLSTMState
) -> Tuple[Tensor, AWDLSTMState]:
    """Read one window from its embeddings instead of its words' ids.

    The encoder gets a stand-in for its embedding matrix in which every position has a
    row of its own, behind the padding's, which has no gradient.
    """
    first = encoder.config.padding_idx + 1
    rows = torch.cat([embedded.new_zeros(first, embedded.shape[1]), embedded])
    positions = torch.arange(first, len(rows), device=embedded.device)
    _, outputs, last = functional_call(
        encoder, {"embedding.weight": rows}, (positions[None], state)
    )
    return cast(Tensor, outputs[-1]), last
