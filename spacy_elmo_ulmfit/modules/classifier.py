"""ULMFiT's text classifier (Howard & Ruder 2018, arXiv:1801.06146, section 3.3)."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .awd_lstm import AWDLSTM, AWDLSTMConfig, read_windows

_BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of the classifier around its encoder.

    n_labels (int): Number of classes.
    hidden_dim (int): Width of the head's hidden layer.
    head_dropout (float): Dropout of the pooled document.
    hidden_dropout (float): Dropout of the head's hidden layer.
    bptt (int): Length of a window; gradients do not pass its edges.
    max_len (int): Only windows that reach into a document's last `max_len` tokens
        get a gradient; the earlier ones are read and pooled all the same.
    """

    n_labels: int
    hidden_dim: int = 50
    head_dropout: float = 0.2
    hidden_dropout: float = 0.1
    bptt: int = 70
    max_len: int = 1400


class DocumentPool:
    """Running concat pooling `[last; max; mean]` over windows, real tokens only.

    batch_size (int): Number of documents.
    """

    def __init__(self, batch_size: int) -> None:
        self.last: List[Optional[Tensor]] = [None] * batch_size
        self.maximum: Optional[Tensor] = None
        self.total: Optional[Tensor] = None

    def add(self, window: Tensor, remaining: Tensor) -> None:
        """Pool one more window of the documents that are still running.

        window (Tensor): Outputs of the first `n` documents. *Shape:* `(n, n_steps, width)`
        remaining (Tensor): Tokens those documents have left, this window
            included, in falling order. *Shape:* `(n,)`
        """
        n_rows, n_steps, _ = window.shape
        mask = torch.arange(n_steps, device=window.device) < remaining.unsqueeze(1)
        blank = ~mask.unsqueeze(-1)
        maximum = window.masked_fill(blank, -torch.inf).amax(dim=1)
        total = window.masked_fill(blank, 0.0).sum(dim=1)
        if self.maximum is None or self.total is None:
            self.maximum, self.total = maximum, total
        else:
            # Documents that ended in an earlier window keep what they have.
            rest = self.maximum[n_rows:]
            self.maximum = torch.cat(
                [torch.maximum(self.maximum[:n_rows], maximum), rest]
            )
            self.total = torch.cat([self.total[:n_rows] + total, self.total[n_rows:]])
        for row in range(n_rows):
            if remaining[row] <= n_steps:
                self.last[row] = window[row, remaining[row] - 1]

    def pooled(self, lengths: Tensor) -> Tensor:
        """Return `[last; max; mean]` of each document. *Shape:* `(batch, 3 * width)`"""
        if self.maximum is None or self.total is None:
            raise ValueError("No window was pooled.")
        last = torch.stack([row for row in self.last if row is not None])
        mean = self.total / lengths.unsqueeze(1)
        return torch.cat([last, self.maximum, mean], dim=1)


class ClassifierHead(nn.Module):
    """Two blocks of batch norm, dropout and linear layer, ReLU between.

    input_dim (int): Width of the pooled document.
    config (ClassifierConfig): Settings.
    """

    def __init__(self, input_dim: int, config: ClassifierConfig) -> None:
        super().__init__()
        self.norms = nn.ModuleList(
            [nn.BatchNorm1d(input_dim), nn.BatchNorm1d(config.hidden_dim)]
        )
        self.dropouts = nn.ModuleList(
            [nn.Dropout(config.head_dropout), nn.Dropout(config.hidden_dropout)]
        )
        self.linears = nn.ModuleList(
            [
                nn.Linear(input_dim, config.hidden_dim),
                nn.Linear(config.hidden_dim, config.n_labels),
            ]
        )

    def forward(self, pooled: Tensor) -> Tensor:
        """Map `(batch, input_dim)` to logits `(batch, n_labels)`."""
        hidden = pooled
        blocks = zip(self.norms, self.dropouts, self.linears)
        for number, (norm, dropout, linear) in enumerate(blocks):
            hidden = linear(dropout(self._normalize(norm, hidden)))
            if number == 0:
                hidden = hidden.relu()
        return hidden

    def _normalize(self, norm: nn.Module, hidden: Tensor) -> Tensor:
        assert isinstance(norm, nn.BatchNorm1d)
        if self.training and norm.num_batches_tracked is not None:
            # A plain mean over the first batches: a short training must not be left
            # with the initial variance of one, which real features are far from.
            seen = int(norm.num_batches_tracked) + 1
            norm.momentum = max(_BATCH_NORM_MOMENTUM, 1.0 / seen)
        if self.training and len(hidden) == 1:
            # One document has no batch statistics: use the running ones.
            return F.batch_norm(
                hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias,
                False, 0.0, norm.eps,
            )  # fmt: skip
        return norm(hidden)


class ULMFiTClassifier(nn.Module):
    """AWD-LSTM over the whole document in windows, concat pooling, head.

    encoder (AWDLSTMConfig): Sizes and dropouts of the encoder.
    config (ClassifierConfig): Settings of the classifier.
    """

    kind = "ulmfit_classifier"

    def __init__(self, encoder: AWDLSTMConfig, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = AWDLSTM(encoder)
        self.head = ClassifierHead(3 * encoder.embedding_dim, config)

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """Parameter name prefixes of the layer groups, bottom first."""
        n_layers = self.encoder.config.n_layers
        layers = [(f"encoder.layers.{i}.",) for i in range(n_layers)]
        return [("encoder.embedding.",), *layers, ("head.",)]

    def forward(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Classify documents; a document's logits do not depend on the others.

        ids (Tensor): Word ids, padded on the right. *Shape:* `(batch, n_steps)`
        lengths (Sequence[int]): Number of words of each document, at least 1.
        RETURNS (Tensor): Logits. *Shape:* `(batch, n_labels)`
        """
        sizes = torch.as_tensor(lengths, device=ids.device)
        order = torch.argsort(sizes, descending=True, stable=True)
        pooled = self._pool(ids[order], sizes[order])
        restored = torch.empty_like(order)
        restored[order] = torch.arange(len(order), device=ids.device)
        return self.head(pooled[restored])

    def _pool(self, ids: Tensor, lengths: Tensor) -> Tensor:
        config, pool = self.config, DocumentPool(len(ids))
        windows = read_windows(
            self.encoder, ids, lengths, config.bptt, max_len=config.max_len
        )
        for window in windows:
            pool.add(window.output, window.remaining)
        return pool.pooled(lengths)


def build_classifier(config: Dict[str, Any]) -> ULMFiTClassifier:
    """Build a classifier from the plain values of its configuration."""
    settings = dict(config)
    encoder = AWDLSTMConfig(**settings.pop("encoder"))
    return ULMFiTClassifier(encoder, ClassifierConfig(**settings))


def classifier_settings(model: ULMFiTClassifier) -> Dict[str, Any]:
    """Return the plain values that build the same classifier again."""
    return {**asdict(model.config), "encoder": asdict(model.encoder.config)}
