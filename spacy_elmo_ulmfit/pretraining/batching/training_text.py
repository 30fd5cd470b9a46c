"""A text as it is read in training: windows, and where each one starts.

What comes next depends on the settings and the position alone, so that a run that goes
on reads what it would have read.
"""

from abc import ABC, abstractmethod
from typing import Iterator, NamedTuple, Protocol

import numpy
from numpy.typing import NDArray

from ..corpus.stream import TokenStream
from ..workers import ALONE, Workers
from .layout import ReadStream, Window

# Keeps random numbers of one use apart from those of others.
_RESETS = 2


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


class TrainingText(ABC):
    """A text in shards that is read again and again, each time in another order.

    streams (Streams): The text.
    read (ReadStream): Reads a shard as the language model does.
    batch_size (int): Number of rows per direction, those of all processes together.
    bptt (int): Tokens per row and window.
    seed (int): The order depends on it.
    workers (Workers): The processes of the training; each reads its share of the rows.
    """

    def __init__(
        self,
        streams: Streams,
        read: ReadStream,
        *,
        batch_size: int,
        bptt: int,
        seed: int,
        workers: Workers = ALONE,
    ) -> None:
        self.streams, self.read = streams, read
        self.batch_size, self.bptt, self.seed = batch_size, bptt, seed
        self.workers = workers
        if batch_size % workers.size:
            raise ValueError(
                f"[lm] batch_size = {batch_size} rows cannot be divided among {workers.size} "
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

    @abstractmethod
    def shard(self, position: Position, number: int) -> Iterator[TrainingWindow]:
        """Yield the windows of a shard.

        position (Position): Where the first one starts.
        number (int): Number of the shard in the text.
        YIELDS (TrainingWindow): The windows.
        """

    def after_shard(self, position: Position) -> Position:
        """Return where reading goes on when a shard is done.

        position (Position): A place in the shard.
        """
        if position.shard + 1 == len(self.streams):
            return Position(position.epoch + 1, 0, 0)
        return Position(position.epoch, position.shard + 1, 0)

    def kept_rows(
        self, position: Position, reset_probability: float
    ) -> NDArray[numpy.bool_]:
        """Return which of this process's rows are not to start anew by chance.

        position (Position): A place in the text.
        reset_probability (float): How probable it is that a row starts anew there.
        RETURNS (NDArray): True for a row that goes on. *Shape:* `(n_rows,)`
        """
        drawn = self.random(*position, _RESETS).random(self.batch_size)
        return drawn[self.workers.share_of(self.batch_size)] >= reset_probability

    def random(self, *numbers: int) -> numpy.random.Generator:
        """Return random numbers that depend on the seed and on these numbers alone."""
        return numpy.random.default_rng([self.seed, *numbers])
