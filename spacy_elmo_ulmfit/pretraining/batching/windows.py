"""Windows of text in the order that a language model is trained and evaluated on them."""

from typing import Any, Iterable, Iterator

from ..corpus.stream import TokenStream
from .layout import ReadStream, Window
from .sentence_batches import SentenceBatches
from .stream_rows import StreamRows
from .training_text import Streams, TrainingText

# Rows of held-out text start without context, so a short text is read in few of them.
_MAX_ROWS, _MIN_ROW_LENGTH = 16, 2000


def create_training_text(
    kind: str,
    streams: Streams,
    read: ReadStream,
    *,
    variable_bptt: bool = False,
    **settings: Any,
) -> TrainingText:
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
