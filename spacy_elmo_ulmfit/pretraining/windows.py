"""Windows of text in the order that a language model is trained and evaluated on them.

What comes next depends on the settings and the position alone, so that a run that goes
on reads what it would have read.
"""

from typing import Any, Iterable, Iterator, List, NamedTuple, Protocol

import numpy
from numpy.typing import NDArray

from .layout import NO_TARGET, ReadStream, Rows, Sequences, Window
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
    column (int): First column of the shard's rows that has not been read, or its first
        batch of sentences.
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


def create_training_text(
    kind: str,
    streams: Streams,
    read: ReadStream,
    *,
    variable_bptt: bool = False,
    **settings: Any,
) -> "TrainingText":
    """Set up how a text is read in training.

    kind (str): `"stream"` for rows of contiguous text, `"sentences"` for whole sentences.
    streams (Streams): The text.
    read (ReadStream): Reads a shard as the language model does.
    variable_bptt (bool): See `StreamRows`.
    settings (Any): Further arguments are those of `TrainingText`.
    RETURNS (TrainingText): The text.
    """
    if kind == "sentences":
        return SentenceBatches(streams, read, **settings)
    return StreamRows(streams, read, variable_bptt=variable_bptt, **settings)


class TrainingText:
    """A text in shards that is read again and again, each time in another order.

    streams (Streams): The text.
    read (ReadStream): Reads a shard as the language model does.
    batch_size (int): Number of rows per direction, those of all processes together.
    bptt (int): Tokens per row and window.
    seed (int): The order depends on it.
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
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.streams, self.read = streams, read
        self.batch_size, self.bptt, self.seed = batch_size, bptt, seed
        self.rank, self.world_size = rank, world_size
        if batch_size % world_size:
            raise ValueError(
                f"[lm] batch_size = {batch_size} rows cannot be divided among {world_size} "
                "processes. Make it a multiple of their number."
            )

    def following(self, position: Position) -> Iterator[TrainingWindow]:
        """Yield windows without end.

        position (Position): Where the first one starts.
        YIELDS (TrainingWindow): The windows.
        RAISES (ValueError): If a shard has too few tokens for the rows.
        """
        epoch, first, column = position
        while True:
            order = self.random(epoch).permutation(len(self.streams)).tolist()
            for done, number in enumerate(order[first:], first):
                yield from self.shard(Position(epoch, done, column), number)
                column = 0
            epoch, first = epoch + 1, 0

    def shard(self, position: Position, number: int) -> Iterator[TrainingWindow]:
        """Yield the windows of a shard.

        position (Position): Where the first one starts.
        number (int): Number of the shard in the text.
        YIELDS (TrainingWindow): The windows.
        """
        raise NotImplementedError

    def after_shard(self, position: Position) -> Position:
        """Return where reading goes on when a shard is done.

        position (Position): A place in the shard.
        """
        if position.shard + 1 == len(self.streams):
            return Position(position.epoch + 1, 0, 0)
        return Position(position.epoch, position.shard + 1, 0)

    def share_of(self, n_rows: int) -> slice:
        """Return the rows of this process.

        n_rows (int): Number of rows of all processes.
        """
        share = n_rows // self.world_size
        return slice(self.rank * share, (self.rank + 1) * share)

    def random(self, *numbers: int) -> numpy.random.Generator:
        """Return random numbers that depend on the seed and on these numbers alone."""
        return numpy.random.default_rng([self.seed, *numbers])


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
        mine = self.share_of(self.batch_size)
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
            mine = batch[self.share_of(len(batch))]
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
            n_rows -= n_rows % self.world_size
            batch = order[start : start + n_rows]
            missing = -len(batch) % self.world_size
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
