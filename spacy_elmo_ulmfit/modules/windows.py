"""Documents read in windows of one length, the state carried from each to the next."""

from typing import Iterator, List, NamedTuple, Sequence

import torch
from torch import Tensor

from .awd_lstm import AWDLSTM, AWDLSTMState, detach_state
from .cuts import cut_for_speed
from .packing import unpack


class Window(NamedTuple):
    """One window of documents that reach into it, the longest document first.

    rows (Tensor): Which documents they are. *Shape:* `(n_rows,)`
    is_word (Tensor): Which steps are words; the others come after a document's end.
        *Shape:* `(n_rows, n_steps)`
    places (Tensor): Where the words stand in the flat ids. The same shape.
    embedded (Tensor): Embeddings. *Shape:* `(n_rows, n_steps, embedding_dim)`
    raw (Tensor): Last layer before dropout. The same shape.
    output (Tensor): Last layer after dropout. The same shape.
    """

    rows: Tensor
    is_word: Tensor
    places: Tensor
    embedded: Tensor
    raw: Tensor
    output: Tensor


def read_windows(
    encoder: AWDLSTM,
    ids: Tensor,
    lengths: Sequence[int],
    bptt: int,
    *,
    max_len: int = 0,
    gradient_windows: int = 1,
) -> Iterator[Window]:
    """Read documents window by window, in the memory of one window.

    In training, or with gradients, a document's windows, and what gradients reach,
    depend on its own length alone. In prediction the state is all that passes from one
    window to the next, so documents are cut where it is fastest.

    encoder (AWDLSTM): The encoder.
    ids (Tensor): Word ids, the documents one after another. *Shape:* `(n_words,)`
    lengths (Sequence[int]): Words of each document, at least 1.
    bptt (int): Length of a window.
    max_len (int): Only the windows that `longest_rest` allows are returned; the
        earlier ones are read for their state, without gradients. 0 for all windows.
    gradient_windows (int): How many windows gradients pass through: the state is
        detached at every so many windows from the start of a document.
    YIELDS (Window): The windows that are wanted, of the documents they are wanted of.
    RAISES (ValueError): If the lengths are not those of the ids.
    """
    if min(lengths, default=0) < 1 or ids.shape != (sum(lengths),):
        raise ValueError(
            f"The lengths of the documents add up to {sum(lengths)} words, at least one "
            f"each, but the ids have the shape {tuple(ids.shape)}."
        )
    # On the CPU: what a window needs is decided without waiting for a device.
    sizes = torch.as_tensor(lengths)
    starts = sizes.cumsum(0) - sizes
    sizes, order = sizes.sort(descending=True, stable=True)
    starts = starts[order]
    longest = int(sizes[0])
    limit = longest_rest(longest, bptt, max_len)
    # Where the first window of each document starts that is wanted.
    wanted = (sizes - limit + bptt - 1).clamp(min=0) // bptt * bptt
    cuts = list(range(0, longest, bptt))
    if not (encoder.training or torch.is_grad_enabled()):
        cuts = cut_for_speed(sizes.tolist(), set(wanted.tolist()))
    state = encoder.zero_state(len(sizes))
    for number, (start, stop) in enumerate(zip(cuts, [*cuts[1:], longest])):
        # The documents fall in length, so those with too much to come are the first.
        first, n_rows = int((wanted > start).sum()), int((sizes > start).sum())
        steps = torch.arange(start, stop)
        is_word = steps < sizes[:n_rows].unsqueeze(1)
        places = (starts[:n_rows].unsqueeze(1) + steps).where(is_word, 0)
        is_word, places = is_word.to(ids.device), places.to(ids.device)
        words = ids[places].where(is_word, encoder.config.padding_idx)
        if number % gradient_windows == 0:
            state = detach_state(state)
        with torch.set_grad_enabled(torch.is_grad_enabled() and first < n_rows):
            encoded = encoder.encode(words, _rows_of(state, n_rows))
        state = _without_gradients(encoded.state, first)
        window = Window(
            order[first:n_rows].to(ids.device),
            is_word[first:],
            places[first:],
            encoded.embedded[first:],
            encoded.raw_outputs[-1][first:],
            encoded.output[first:],
        )
        # What the layers between computed is not kept beside the next window.
        del encoded
        if first < n_rows:
            yield window
        del window


def longest_rest(length: int, bptt: int, max_len: int) -> int:
    """Return what may be left of a document where a window starts that is pooled.

    That is its last `max_len` words; its last window is pooled in any case.

    length (int): Words of the document, or of a longer one.
    bptt (int): Length of a window.
    max_len (int): 0 for all windows.
    RETURNS (int): Number of words, the window's included.
    """
    return max(max_len, bptt) if max_len else length


def read_documents(
    encoder: AWDLSTM, ids: Tensor, lengths: Sequence[int], bptt: int
) -> Tensor:
    """Read whole documents; gradients do not pass the edges of a window.

    encoder (AWDLSTM): The encoder.
    ids (Tensor): Word ids, the documents one after another. *Shape:* `(n_words,)`
    lengths (Sequence[int]): Words of each document, at least 1.
    bptt (int): Length of a window.
    RETURNS (Tensor): Embeddings and top layer. *Shape:* `(2, n_words, embedding_dim)`
    """
    pieces: List[Tensor] = []
    places: List[Tensor] = []
    for window in read_windows(encoder, ids, lengths, bptt):
        both = torch.stack([window.embedded, window.output], dim=2)
        pieces.append(both[window.is_word])
        places.append(window.places[window.is_word])
    return unpack(torch.cat(pieces), torch.cat(places)).transpose(0, 1)


def _rows_of(state: AWDLSTMState, n_rows: int) -> AWDLSTMState:
    return [tuple(part[:, :n_rows].contiguous() for part in layer) for layer in state]


def _without_gradients(state: AWDLSTMState, n_rows: int) -> AWDLSTMState:
    """Detach the state of the first rows."""
    if not n_rows or not torch.is_grad_enabled():
        return state

    def cut(part: Tensor) -> Tensor:
        return torch.cat([part[:, :n_rows].detach(), part[:, n_rows:]], dim=1)

    return [tuple(cut(part) for part in layer) for layer in state]
