"""ULMFiT's text classifier (Howard & Ruder 2018, arXiv:1801.06146, section 3.3)."""

from dataclasses import asdict, dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch.nn.functional as F
from torch import Tensor, nn

from .awd_lstm import AWDLSTM, AWDLSTMConfig, read_awd_lstm_config
from .pooling import DocumentPenalty, DocumentPool
from .products import Precision
from .windows import read_windows

_BATCH_NORM_MOMENTUM = 0.1


@dataclass(frozen=True)
class ClassifierConfig:
    """Settings of the classifier around its encoder.

    n_labels (int): Number of classes.
    hidden_dim (int): Width of the head's hidden layer.
    head_dropout (float): Dropout of the pooled document.
    hidden_dropout (float): Dropout of the head's hidden layer.
    bptt (int): Length of a window.
    max_len (int): Only windows that start within a document's last `max_len` words,
        and its last window, are pooled and get a gradient; the earlier ones are read
        for the state they leave. 0 for all windows.
    gradient_windows (int): How many windows gradients pass through; the published
        models keep them within one.
    alpha (float): Weight of AR in training.
    beta (float): Weight of TAR in training.
    """

    n_labels: int
    hidden_dim: int = 50
    head_dropout: float = 0.2
    hidden_dropout: float = 0.1
    bptt: int = 70
    max_len: int = 1400
    gradient_windows: int = 1
    alpha: float = 2.0
    beta: float = 1.0


class ClassifierOutput(NamedTuple):
    """What the classifier computes of a batch.

    logits (Tensor): *Shape:* `(batch, n_labels)`
    penalty (Tensor): AR and TAR to add to the mean loss, a scalar; zero in prediction.
    """

    logits: Tensor
    penalty: Tensor


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
    """AWD-LSTM over documents in windows, concat pooling, head.

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

    def set_precision(self, precision: Precision) -> Precision:
        """See `AWDLSTM.set_precision`."""
        return self.encoder.set_precision(precision)

    def forward(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """Classify documents; a document's logits do not depend on the others.

        ids (Tensor): Word ids, the documents one after another. *Shape:* `(n_words,)`
        lengths (Sequence[int]): Words of each document, at least 1.
        RETURNS (Tensor): Logits. *Shape:* `(batch, n_labels)`
        RAISES (ValueError): If the lengths are not those of the ids.
        """
        return self.classify(ids, lengths).logits

    def classify(self, ids: Tensor, lengths: Sequence[int]) -> ClassifierOutput:
        """Classify documents and, in training, compute AR and TAR of their outputs.

        `DocumentPenalty` says what the penalty is the mean of.

        ids (Tensor): Word ids, the documents one after another. *Shape:* `(n_words,)`
        lengths (Sequence[int]): Words of each document, at least 1.
        RETURNS (ClassifierOutput): Logits and penalty.
        RAISES (ValueError): If the lengths are not those of the ids.
        """
        config, penalty = self.config, None
        if self.training:
            penalty = DocumentPenalty(len(lengths), config.alpha, config.beta)
        logits = self.head(self.pool(ids, lengths, penalty))
        total = logits.new_zeros(()) if penalty is None else penalty.total()
        return ClassifierOutput(logits, total)

    def pool(
        self,
        ids: Tensor,
        lengths: Sequence[int],
        penalty: Optional[DocumentPenalty] = None,
    ) -> Tensor:
        """Read documents and pool the encoder's outputs, what the head classifies.

        ids (Tensor): Word ids, the documents one after another. *Shape:* `(n_words,)`
        lengths (Sequence[int]): Words of each document, at least 1.
        penalty (Optional[DocumentPenalty]): Gets the windows that are pooled.
        RETURNS (Tensor): `[last; max; mean]`. *Shape:* `(batch, 3 * embedding_dim)`
        RAISES (ValueError): If the lengths are not those of the ids.
        """
        config, pool = self.config, DocumentPool(len(lengths))
        for window in read_windows(
            self.encoder,
            ids,
            lengths,
            config.bptt,
            max_len=config.max_len,
            gradient_windows=config.gradient_windows,
        ):
            pool.add(window.rows, window.is_word, window.output)
            if penalty is not None:
                penalty.add(window)
            # Nor is the window itself kept while the next one is computed.
            del window
        return pool.pooled()


def build_classifier(config: Dict[str, Any]) -> ULMFiTClassifier:
    """Build a classifier from the plain values of its configuration."""
    settings = dict(config)
    encoder = read_awd_lstm_config(settings.pop("encoder"))
    return ULMFiTClassifier(encoder, ClassifierConfig(**settings))


def classifier_settings(model: ULMFiTClassifier) -> Dict[str, Any]:
    """Return the plain values that build the same classifier again."""
    return {**asdict(model.config), "encoder": asdict(model.encoder.config)}
