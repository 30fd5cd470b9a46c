"""Windows of text in the order that a language model is trained and evaluated on them.

What comes next depends on the settings and the position alone, so that a run that goes
on reads what it would have read.
"""

from typing import Iterable, Iterator, List, NamedTuple, Protocol

import numpy

from .layout import ReadStream, Window
from .stream import TokenStream

# Lengths of windows as AWD-LSTM's code draws them.
_HALVED, _DEVIATION, _SHORTEST = 0.05, 5.0, 5
# Rows of held-out text start without context, so a short text is read in few of them.
_MAX_ROWS, _MIN_ROW_LENGTH = 16, 2000


class Streams(Protocol):
    """The shards of a text, one or more."""

    def __len__(self) -> int: ...

    def __getitem__(self, number: int, /) -> TokenStream: ...


class Position(NamedTuple):
    """A place in the text that is read in training.

    epoch (int): Passes over the text done.
    shard (int): Shards of this epoch done.
    column (int): First column of the shard's rows that has not been read.
    """

    epoch: int
    shard: int
    column: int


class TrainingWindow(NamedTuple):
    """A window with what training has to know about it.

    window (Window): The window.
    fresh (bool): Whether its rows start from zeros, not from where the last window ended.
    rate_scale (float): Factor of the learning rate: a short window has fewer tokens to
        learn from.
    end (Position): Where the next window starts.
    """

    window: Window
    fresh: bool
    rate_scale: float
    end: Position


class StreamRows:
    """Rows of contiguous text, whose state is carried on from window to window.

    Shards come in another order in each epoch, and so do the documents of each. A shard is
    cut into as many rows as there are; what remains at its end is dropped.

    streams (Streams): The text.
    read (ReadStream): Reads a shard as the language model does.
    batch_size (int): Number of rows per direction, those of all processes together.
    bptt (int): Tokens per row and window.
    seed (int): The order depends on it.
    variable_bptt (bool): Whether lengths of windows vary, as AWD-LSTM's do (Merity et al.
        2017, section 5): around `bptt`, or half of it with a probability of 0.05, with a
        standard deviation of 5, and 5 at least.
    rank (int): Number of this process.
    world_size (int): Number of processes; each reads its share of the rows.
    """

    def __init__(
        self,
        streams: Streams,
        read: ReadStream,
        *,
        batch_size: int,
        bptt: int,
        seed: int,
        variable_bptt: bool = False,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.streams, self.read = streams, read
        self.batch_size, self.bptt, self.seed = batch_size, bptt, seed
        self.variable_bptt = variable_bptt
        if batch_size % world_size:
            raise ValueError(
                f"[lm] batch_size = {batch_size} rows cannot be divided among {world_size} "
                "processes. Make it a multiple of their number."
            )
        share = batch_size // world_size
        self._rows = slice(rank * share, (rank + 1) * share)

    def following(self, position: Position) -> Iterator[TrainingWindow]:
        """Yield windows without end.

        position (Position): Where the first one starts.
        YIELDS (TrainingWindow): The windows.
        RAISES (ValueError): If a shard has too few tokens for the rows.
        """
        epoch, first, column = position
        while True:
            order = self._random(epoch).permutation(len(self.streams)).tolist()
            for done, number in enumerate(order[first:], first):
                yield from self._shard(Position(epoch, done, column), number)
                column = 0
            epoch, first = epoch + 1, 0

    def _shard(self, position: Position, number: int) -> Iterator[TrainingWindow]:
        epoch, done, column = position
        stream = self.streams[number]
        text = self.read(stream)
        tokens = stream.shuffled([self.seed, epoch, number])
        rows = text.rows(tokens, self.batch_size, pad=False)
        inputs, targets = (part[:, self._rows] for part in rows)
        n_steps = inputs.shape[2]
        if not n_steps:
            raise ValueError(
                f"The training text has a shard of {len(tokens)} tokens, too few for [lm] "
                f"batch_size = {self.batch_size} rows. Lower batch_size."
            )
        is_last = done + 1 == len(self.streams)
        edges = self._edges(n_steps, self._random(epoch, number, 1))
        for start, end in zip(edges, edges[1:]):
            if start < column:
                continue
            place = Position(epoch, done, end)
            if end == n_steps:
                place = Position(epoch + is_last, 0 if is_last else done + 1, 0)
            window = text.window(inputs[:, :, start:end], targets[:, :, start:end])
            scale = (end - start) / self.bptt
            yield TrainingWindow(window, done == start == 0, scale, place)

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

    def _random(self, *numbers: int) -> numpy.random.Generator:
        return numpy.random.default_rng([self.seed, *numbers])


def held_out_windows(
    streams: Iterable[TokenStream], read: ReadStream, n_steps: int
) -> Iterator[Window]:
    """Yield a whole text for evaluation: every token once, one shard in memory at a time.

    Rows go on from shard to shard. A text is read in one row for each 2,000 tokens of its
    first shard, up to 16: rows start without context.

    streams (Iterable[TokenStream]): The shards.
    read (ReadStream): Reads a shard as the language model does.
    n_steps (int): Most tokens per row and window.
    YIELDS (Window): The windows, all of the same number of rows.
    """
    n_rows, before = 0, None
    for stream in streams:
        text = read(stream)
        n_rows = n_rows or max(1, min(_MAX_ROWS, len(stream.tokens) // _MIN_ROW_LENGTH))
        rows = text.rows(stream.tokens, n_rows, pad=True, before=before)
        before = text.last_id
        for start in range(0, rows.inputs.shape[2], n_steps):
            window = slice(start, start + n_steps)
            yield text.window(rows.inputs[:, :, window], rows.targets[:, :, window])
