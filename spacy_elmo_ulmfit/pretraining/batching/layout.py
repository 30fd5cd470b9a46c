"""How the two kinds of language model read and predict a stream of numbered tokens."""

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, NamedTuple, Optional, Protocol

import numpy
from numpy.typing import NDArray
from torch import nn

from ...modules.awd_lstm import AWDLSTM
from ...modules.bilm import BiLM
from ...text import BEGIN_SENTENCE, END_SENTENCE, ByteIndexer, Indexer, Vocabulary
from ..corpus.stream import Tokens, TokenStream

# Where nothing is predicted: what fills up a row, and words that are no targets.
NO_TARGET = -1


@dataclass
class Window:
    """What a language model reads and predicts in one step.

    inputs (NDArray): Ids of words for an AWD-LSTM, rows of `words` for a biLM.
        *Shape:* `(n_directions, batch, n_steps)`
    targets (NDArray): Ids of the words to predict, or -1. The same shape.
    words (Optional[NDArray]): What a biLM's token encoder reads of the distinct words
        of the window. *Shape:* `(n_words, n_columns)`
    """

    inputs: NDArray[numpy.int64]
    targets: NDArray[numpy.int64]
    words: Optional[NDArray[Any]] = None

    @property
    def batch_size(self) -> int:
        """Number of rows per direction."""
        return self.inputs.shape[1]

    @property
    def n_steps(self) -> int:
        """Tokens per row."""
        return self.inputs.shape[2]


class Rows(NamedTuple):
    """Contiguous text in rows, one set of rows per direction.

    inputs (NDArray): What is read. *Shape:* `(n_directions, batch, n_steps)`
    targets (NDArray): Ids of the words to predict, or -1. The same shape.
    """

    inputs: NDArray[numpy.int64]
    targets: NDArray[numpy.int64]


class Sequences(NamedTuple):
    """Where sequences are in rows of one text in one row.

    starts (NDArray): First columns. *Shape:* `(n_directions, n_sequences)`
    lengths (NDArray): Numbers of columns. *Shape:* `(n_sequences,)`
    """

    starts: NDArray[numpy.int64]
    lengths: NDArray[numpy.int64]


class ModelText(Protocol):
    """A stream as a language model reads it.

    last_id (Optional[int]): What a text that follows needs, to predict its first word
        from the last one of this text; `None` where it needs nothing.
    """

    last_id: Optional[int]

    def rows(
        self,
        tokens: Tokens,
        batch_size: int,
        *,
        pad: bool,
        before: Optional[int] = None,
    ) -> Rows:
        """Lay tokens of the stream out in rows.

        tokens (NDArray): Word types in reading order. *Shape:* `(n_tokens,)`
        batch_size (int): Number of rows per direction.
        pad (bool): Fill the last row up; otherwise the rest of the text is dropped.
        before (Optional[int]): `last_id` of the text that this one goes on with.
        RETURNS (Rows): Inputs, by numbers that `window` takes, and targets.
        """

    def sequences(self, stream: TokenStream) -> "Sequences":
        """Find what is read from zeros each: sentences of a biLM, otherwise documents.

        stream (TokenStream): The stream.
        RETURNS (Sequences): Where they are in `rows` of all tokens in one row.
        """

    def window(
        self, inputs: NDArray[numpy.int64], targets: NDArray[numpy.int64]
    ) -> Window:
        """Return a part of rows as the module takes it.

        inputs (NDArray): A part of `Rows.inputs`.
        targets (NDArray): The same part of `Rows.targets`.
        RETURNS (Window): The window.
        """


ReadStream = Callable[[TokenStream], ModelText]


def create_layout(
    module: nn.Module,
    vocabulary: Vocabulary,
    indexer: Optional[Indexer] = None,
    *,
    are_targets: Optional[NDArray[numpy.bool_]] = None,
) -> ReadStream:
    """Return how a module reads streams.

    module (nn.Module): A biLM or an AWD-LSTM.
    vocabulary (Vocabulary): The words to predict.
    indexer (Optional[Indexer]): How a biLM reads words; by default as UTF-8 bytes.
    are_targets (Optional[NDArray]): Which words a biLM predicts; by default all.
        *Shape:* `(n_words,)`
    RETURNS (Callable[[TokenStream], ModelText]): Takes a stream.
    """
    if isinstance(module, BiLM):
        return partial(
            BiLMText,
            vocabulary=vocabulary,
            indexer=indexer or ByteIndexer(module.config.max_chars),
            n_directions=module.n_directions,
            are_targets=are_targets,
        )
    if isinstance(module, AWDLSTM):
        padding = module.config.padding_idx
        return partial(AWDLSTMText, vocabulary=vocabulary, padding=padding)
    raise TypeError(f"No layout of text for {type(module).__name__}.")


class BiLMText:
    """Both directions of a text; the backward rows hold it reversed.

    So both carry their state from window to window. What the token encoder reads of a
    word is computed once for the stream, not once per occurrence.

    stream (TokenStream): The text.
    vocabulary (Vocabulary): The words to predict.
    indexer (Indexer): How words are read.
    n_directions (int): 2, or 1 for the forward direction alone.
    are_targets (Optional[NDArray]): Which words of the vocabulary are predicted; by
        default all. *Shape:* `(n_words,)`
    """

    def __init__(
        self,
        stream: TokenStream,
        *,
        vocabulary: Vocabulary,
        indexer: Indexer,
        n_directions: int,
        are_targets: Optional[NDArray[numpy.bool_]] = None,
    ) -> None:
        self.n_directions = n_directions
        # Each sentence begins and ends in the same text.
        self.last_id: Optional[int] = None
        boundaries = {BEGIN_SENTENCE: indexer.begin, END_SENTENCE: indexer.end}
        ids = indexer.encode([boundaries.get(word, word) for word in stream.types])
        self._words = ids.astype(numpy.int32)
        self._target_ids = numpy.asarray(vocabulary.ids(stream.types))
        if are_targets is not None:
            targets = are_targets[self._target_ids]
            self._target_ids = numpy.where(targets, self._target_ids, NO_TARGET)
        self._begin = stream.types.index(BEGIN_SENTENCE)
        self._end = stream.types.index(END_SENTENCE)

    def rows(
        self,
        tokens: Tokens,
        batch_size: int,
        *,
        pad: bool,
        before: Optional[int] = None,
    ) -> Rows:
        """See `ModelText.rows`."""
        inputs, targets = [], []
        both = (
            (tokens, self._begin, self._end),
            (tokens[::-1], self._end, self._begin),
        )
        for text, read, predicted in both[: self.n_directions]:
            # Streams begin with a boundary; the reversed one needs its own.
            if text[0] != self._begin:
                text = numpy.concatenate([[self._begin], text])
            else:
                text = numpy.concatenate([text, [self._begin]])
            boundary = text == self._begin
            types = numpy.where(boundary, read, text)
            goals = self._target_ids[numpy.where(boundary, predicted, text)]
            inputs.append(fold(types[:-1], batch_size, pad, fill=read))
            targets.append(fold(goals[1:], batch_size, pad, fill=NO_TARGET))
        return Rows(numpy.stack(inputs), numpy.stack(targets))

    def sequences(self, stream: TokenStream) -> Sequences:
        """See `ModelText.sequences`."""
        edges = numpy.flatnonzero(stream.tokens == self._begin)
        edges = numpy.append(edges, len(stream.tokens))
        both = edges[:-1], edges[-1] - edges[1:]
        return Sequences(numpy.stack(both[: self.n_directions]), numpy.diff(edges))

    def window(
        self, inputs: NDArray[numpy.int64], targets: NDArray[numpy.int64]
    ) -> Window:
        """See `ModelText.window`."""
        used, index = numpy.unique(inputs, return_inverse=True)
        return Window(index.reshape(inputs.shape), targets, self._words[used])


class AWDLSTMText:
    """The ids of a text's words, each of which predicts the next one.

    stream (TokenStream): The text.
    vocabulary (Vocabulary): The words that are read and predicted.
    padding (int): Id of the word that fills a row up.
    """

    def __init__(
        self, stream: TokenStream, *, vocabulary: Vocabulary, padding: int
    ) -> None:
        self._ids = numpy.asarray(vocabulary.ids(stream.types))
        self._padding = padding
        self.last_id: Optional[int] = int(self._ids[stream.tokens[-1]])

    def rows(
        self,
        tokens: Tokens,
        batch_size: int,
        *,
        pad: bool,
        before: Optional[int] = None,
    ) -> Rows:
        """See `ModelText.rows`."""
        ids = self._ids[tokens]
        if before is not None:
            ids = numpy.concatenate([[before], ids])
        inputs = fold(ids[:-1], batch_size, pad, fill=self._padding)
        targets = fold(ids[1:], batch_size, pad, fill=NO_TARGET)
        return Rows(inputs[None], targets[None])

    def sequences(self, stream: TokenStream) -> Sequences:
        """See `ModelText.sequences`."""
        starts = stream.doc_starts
        ends = numpy.append(starts[1:], len(stream.tokens))
        return Sequences(starts[None], ends - starts - 1)

    def window(
        self, inputs: NDArray[numpy.int64], targets: NDArray[numpy.int64]
    ) -> Window:
        """See `ModelText.window`."""
        return Window(inputs, targets)


def fold(
    values: NDArray[Any], batch_size: int, pad: bool, *, fill: int
) -> NDArray[numpy.int64]:
    """Cut a stream into rows: the rest is dropped, or the last row filled up.

    values (NDArray): The stream. *Shape:* `(n,)`
    batch_size (int): Number of rows.
    pad (bool): Whether the last row is filled up.
    fill (int): What with.
    RETURNS (NDArray): *Shape:* `(batch_size, n_steps)`
    """
    values = numpy.asarray(values, dtype=numpy.int64)
    if pad:
        missing = -len(values) % batch_size
        values = numpy.concatenate([values, numpy.full(missing, fill)])
    n_steps = len(values) // batch_size
    return values[: batch_size * n_steps].reshape(batch_size, n_steps)
