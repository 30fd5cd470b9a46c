"""Where documents that are read side by side are cut into windows."""

from typing import Collection, List, Sequence

# Words, those of all documents together, that prediction computes at a time.
MAX_WORDS = 4096
# Steps of a window: more of them save no time, and a document alone needs less memory.
MAX_STEPS = 1024
# What is computed behind the ends of documents: as much as a call of a layer costs.
MAX_PADDING = 256


def cut_for_speed(
    sizes: Sequence[int],
    wanted: Collection[int],
    max_words: int = MAX_WORDS,
    max_padding: int = MAX_PADDING,
    max_steps: int = MAX_STEPS,
) -> List[int]:
    """Cut where documents end, so that next to nothing is computed behind their ends.

    For prediction alone: the windows depend on which documents there are.

    sizes (Sequence[int]): Words of each document, at least 1, the longest first.
    wanted (Collection[int]): Where a window has to start.
    max_words (int): Most words of a window, all documents together, if that is at
        least one of each.
    max_padding (int): Most steps of a window that come after a document's end.
    max_steps (int): Most steps of a window.
    RETURNS (List[int]): Where the windows start.
    """
    starts = [0]
    left, n_left = sorted(wanted, reverse=True), len(sizes)
    while True:
        start = starts[-1]
        while n_left and sizes[n_left - 1] <= start:
            n_left -= 1
        if not n_left:
            return starts[:-1]
        while left and left[-1] <= start:
            left.pop()
        stop = start + max(1, min(max_words // n_left, max_steps))
        stop = min(stop, sizes[0], *left[-1:])
        starts.append(_last_end_that_pays(sizes[:n_left], stop, max_padding))


def _last_end_that_pays(sizes: Sequence[int], stop: int, max_padding: int) -> int:
    """Return `stop`, or where documents end before it if going on computes too much."""
    n_padded, n_ended, end = 0, 0, stop
    for size in reversed(sizes):
        n_padded += n_ended * (min(size, stop) - end)
        if n_padded > max_padding:
            return end
        if size >= stop:
            return stop
        n_ended, end = n_ended + 1, size
    return stop
