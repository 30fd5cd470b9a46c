"""What is summed up over the windows of documents, words only: pools and penalties."""

from typing import Optional

import torch
from torch import Tensor

from .windows import Window


class DocumentPool:
    """Running concat pooling `[last; max; mean]` (Howard & Ruder 2018, section 3.3).

    n_docs (int): Number of documents.
    """

    def __init__(self, n_docs: int) -> None:
        self.n_docs = n_docs
        self._last: Optional[Tensor] = None
        self._maximum: Tensor
        self._total: Tensor
        self._n_words: Tensor

    def add(self, rows: Tensor, is_word: Tensor, output: Tensor) -> None:
        """Pool one more window of some of the documents; windows come in order.

        rows (Tensor): Which documents they are. *Shape:* `(n_rows,)`
        is_word (Tensor): Which steps are words, at least the first. *Shape:*
            `(n_rows, n_steps)`
        output (Tensor): *Shape:* `(n_rows, n_steps, width)`
        """
        if self._last is None:
            shape = (self.n_docs, output.shape[2])
            self._last = output.new_zeros(shape)
            self._maximum = output.new_full(shape, -torch.inf)
            self._total = output.new_zeros(shape)
            self._n_words = output.new_zeros(self.n_docs, 1)
        blank = ~is_word.unsqueeze(2)
        maximum = output.masked_fill(blank, -torch.inf).amax(dim=1)
        maximum = torch.maximum(self._maximum[rows], maximum)
        total = output.masked_fill(blank, 0.0).sum(dim=1)
        n_words = is_word.sum(dim=1, keepdim=True)
        all_rows = torch.arange(len(rows), device=rows.device)
        last = output[all_rows, n_words.squeeze(1) - 1]
        self._last = self._last.index_copy(0, rows, last)
        self._maximum = self._maximum.index_copy(0, rows, maximum)
        self._total = self._total.index_add(0, rows, total)
        self._n_words = self._n_words.index_add(0, rows, n_words.to(output.dtype))

    def pooled(self) -> Tensor:
        """Return `[last; max; mean]` of each document. *Shape:* `(n_docs, 3 * width)`

        RAISES (ValueError): If no window was pooled.
        """
        if self._last is None:
            raise ValueError("No window was pooled.")
        mean = self._total / self._n_words
        return torch.cat([self._last, self._maximum, mean], dim=1)


class DocumentPenalty:
    """Running AR and TAR of documents (Merity et al. 2017, section 4.6).

    A document's AR is the mean of the squared outputs after dropout over its words and
    their dimensions, in the windows that were added. Its TAR is the mean of the squared
    differences of the raw outputs of neighbouring words, across the windows' edges too;
    a single word has none. The penalty is the mean over the documents, so that what a
    document adds does not depend on its neighbours' lengths, and padding counts nowhere.

    n_docs (int): Number of documents.
    alpha (float): Weight of AR.
    beta (float): Weight of TAR.
    """

    def __init__(self, n_docs: int, alpha: float, beta: float) -> None:
        self.n_docs, self.alpha, self.beta = n_docs, alpha, beta
        self._last: Optional[Tensor] = None
        self._n_words: Tensor
        self._squares: Tensor
        self._differences: Tensor

    def add(self, window: Window) -> None:
        """Add one more window of some of the documents; windows come in order."""
        # In single precision also when the encoder computes in half.
        rows, raw = window.rows, window.raw.float()
        if self._last is None:
            self._last = raw.new_zeros(self.n_docs, raw.shape[2])
            self._n_words = raw.new_zeros(self.n_docs)
            self._squares = raw.new_zeros(self.n_docs)
            self._differences = raw.new_zeros(self.n_docs)
        is_word = window.is_word.to(raw.dtype)
        # A document's first word has none before it.
        is_pair = is_word.clone()
        is_pair[:, 0] = (self._n_words[rows] > 0).to(raw.dtype)
        before = torch.cat([self._last[rows].unsqueeze(1), raw[:, :-1]], dim=1)
        squares = window.output.float().pow(2).mean(dim=2) * is_word
        differences = (raw - before).pow(2).mean(dim=2) * is_pair
        self._squares = self._squares.index_add(0, rows, squares.sum(dim=1))
        self._differences = self._differences.index_add(0, rows, differences.sum(dim=1))
        self._n_words = self._n_words.index_add(0, rows, is_word.sum(dim=1))
        self._last = self._last.index_copy(0, rows, raw[:, -1])

    def total(self) -> Tensor:
        """Return the penalty of the batch, a scalar.

        RAISES (ValueError): If no window was added.
        """
        if self._last is None:
            raise ValueError("No window was added.")
        ar = self._squares / self._n_words
        tar = self._differences / (self._n_words - 1).clamp(min=1)
        return (self.alpha * ar + self.beta * tar).mean()
