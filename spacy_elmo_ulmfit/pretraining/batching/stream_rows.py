"""Training text as rows of contiguous text, for truncated BPTT with carried states."""

from typing import Any, Iterator, List

import numpy

from .training_text import Position, TrainingText, TrainingWindow

# Lengths of windows as AWD-LSTM's code draws them.
_HALVED, _DEVIATION, _SHORTEST = 0.05, 5.0, 5


class StreamRows(TrainingText):
    """Rows of contiguous text, whose state is carried on from window to window.

    The documents of each shard are shuffled, put one after the other and cut into as many
    rows as there are; what remains at the end is dropped.

    variable_bptt (bool): Whether lengths of windows vary, as AWD-LSTM's do (Merity et al.
        2017, section 5): around `bptt`, or half of it with a probability of 0.05, with a
        standard deviation of 5, and 5 at least.
    settings (Any): Further arguments are those of `TrainingText`.
    """

    def __init__(
        self, *args: Any, variable_bptt: bool = False, **settings: Any
    ) -> None:
        super().__init__(*args, **settings)
        self.variable_bptt = variable_bptt

    def shard(self, position: Position, number: int) -> Iterator[TrainingWindow]:
        """See `TrainingText.shard`."""
        epoch, done, column = position
        stream = self.streams[number]
        text = self.read(stream)
        tokens = stream.shuffled([self.seed, epoch, number])
        rows = text.rows(tokens, self.batch_size, pad=False)
        mine = self.workers.share_of(self.batch_size)
        n_steps = rows.inputs.shape[2]
        if not n_steps:
            raise ValueError(
                f"The training text has a shard of {len(tokens)} tokens, too few for [lm] "
                f"batch_size = {self.batch_size} rows. Lower batch_size."
            )
        edges = self._edges(n_steps, self.random(epoch, number, 1))
        for start, end in zip(edges, edges[1:]):
            if start < column:
                continue
            window = text.window(
                rows.inputs[:, mine, start:end], rows.targets[:, mine, start:end]
            )
            yield TrainingWindow(
                window,
                fresh=done == start == 0,
                rate_scale=(end - start) / self.bptt,
                end=Position(epoch, done, end)
                if end < n_steps
                else self.after_shard(position),
            )

    def _edges(self, n_steps: int, random: numpy.random.Generator) -> List[int]:
        """Return where windows start, and where the last one ends."""
        edges = [0]
        while edges[-1] < n_steps:
            length = self.bptt
            if self.variable_bptt:
                halved = random.random() < _HALVED
                mean = self.bptt / 2 if halved else self.bptt
                length = max(_SHORTEST, int(random.normal(mean, _DEVIATION)))
            edges.append(min(edges[-1] + length, n_steps))
        return edges
