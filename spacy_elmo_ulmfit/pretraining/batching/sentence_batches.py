"""Training text as batches of whole sentences, each read from zeros."""

from typing import Iterator, List

import numpy
from numpy.typing import NDArray

from .layout import NO_TARGET, Rows, Sequences
from .training_text import Position, TrainingText, TrainingWindow


class SentenceBatches(TrainingText):
    """Whole sentences of like length side by side, each read from zeros.

    For an AWD-LSTM, which knows no sentences, whole documents. A batch has about
    `batch_size` times `bptt` tokens. What is longer than `bptt` is cut.
    """

    def shard(self, position: Position, number: int) -> Iterator[TrainingWindow]:
        """See `TrainingText.shard`; the columns of positions are batches."""
        epoch, done, first = position
        stream = self.streams[number]
        text = self.read(stream)
        rows = text.rows(stream.tokens, 1, pad=False)
        pieces = _cut_sequences(text.sequences(stream), self.bptt)
        batches = self._batches(pieces.lengths, self.random(epoch, number))
        for i, batch in enumerate(batches[first:], first):
            mine = batch[self.workers.share_of(len(batch))]
            # The longest one comes first.
            n_steps = int(pieces.lengths[batch[0]])
            last = i + 1 == len(batches)
            yield TrainingWindow(
                text.window(*_gather(rows, pieces, mine, n_steps)),
                fresh=True,
                rate_scale=1.0,
                end=self.after_shard(position)
                if last
                else Position(epoch, done, i + 1),
            )

    def _batches(
        self, lengths: NDArray[numpy.int64], random: numpy.random.Generator
    ) -> List[NDArray[numpy.int64]]:
        """Return the numbers of the sequences in each batch, -1 for none.

        Every process gets as many rows.
        """
        order = random.permutation(len(lengths))
        order = order[numpy.argsort(-lengths[order], kind="stable")]
        batches, start = [], 0
        while start < len(order):
            n_rows = self.batch_size * self.bptt // int(lengths[order[start]])
            n_rows -= n_rows % self.workers.size
            batch = order[start : start + n_rows]
            missing = -len(batch) % self.workers.size
            batches.append(numpy.append(batch, numpy.full(missing, -1)))
            start += n_rows
        return [batches[i] for i in random.permutation(len(batches))]


def _cut_sequences(sequences: Sequences, longest: int) -> Sequences:
    """Cut sequences into pieces."""
    starts, lengths = sequences
    n_pieces = -(-lengths // longest)
    owners = numpy.repeat(numpy.arange(len(lengths)), n_pieces)
    # Of each piece its number in its sequence.
    numbers = numpy.arange(len(owners)) - numpy.repeat(
        numpy.cumsum(n_pieces) - n_pieces, n_pieces
    )
    offsets = numbers * longest
    return Sequences(
        starts[:, owners] + offsets, numpy.minimum(lengths[owners] - offsets, longest)
    )


def _gather(
    rows: Rows, sequences: Sequences, chosen: NDArray[numpy.int64], n_steps: int
) -> Rows:
    """Lay sequences out in a row each, filled up with what is not predicted."""
    lengths = numpy.where(chosen < 0, 0, sequences.lengths[chosen])
    steps = numpy.arange(n_steps)
    within = steps < lengths[:, None]
    columns = sequences.starts[:, chosen, None] + numpy.where(within, steps, 0)
    directions = numpy.arange(len(columns))[:, None, None]
    targets = numpy.where(within, rows.targets[directions, 0, columns], NO_TARGET)
    return Rows(rows.inputs[directions, 0, columns], targets)
