from itertools import islice

import numpy
import pytest

from spacy_elmo_ulmfit.pretraining.batching import windows as windows_module
from spacy_elmo_ulmfit.pretraining.batching.layout import NO_TARGET, create_layout
from spacy_elmo_ulmfit.pretraining.batching.training_text import Position
from spacy_elmo_ulmfit.pretraining.batching.windows import (
    create_training_text,
    held_out_windows,
)
from spacy_elmo_ulmfit.pretraining.corpus.stream import number_words
from spacy_elmo_ulmfit.pretraining.workers import Workers

from ...util import char_ids, make_doc, stream_of
from ..conftest import make_setting

START = Position(0, 0, 0)
# Each word occurs once, so that what is read tells where it is from.
DOCUMENTS = [[f"{doc}.{i}" for i in range(2 + doc % 5)] for doc in range(30)]


class Text:
    """A text in shards, and the model that reads it."""

    def __init__(self, kind, n_shards=3, documents=DOCUMENTS):
        self.setting = make_setting(kind, documents)
        size = -(-len(documents) // n_shards)
        self.shards = [
            stream_of(kind, [make_doc(words) for words in documents[i : i + size]])
            for i in range(0, len(documents), size)
        ]
        self.read = create_layout(self.setting.module, self.setting.vocabulary)

    def read_words(self, window, row):
        """Spell what a window reads."""
        words = self.setting.vocabulary.words
        if window.words is None:
            return [words[i] for i in row]
        table = {tuple(ids): word for ids, word in zip(char_ids(words).tolist(), words)}
        return [table[tuple(window.words[i].tolist())] for i in row]

    def rows(self, **settings):
        settings = {"batch_size": 2, "bptt": 5, "seed": 0, **settings}
        return create_training_text("stream", self.shards, self.read, **settings)

    def sentences(self, **settings):
        settings = {"batch_size": 4, "bptt": 5, "seed": 0, **settings}
        return create_training_text("sentences", self.shards, self.read, **settings)

    def targets(self, windows, direction=0):
        """Return the words that windows predict, row by row."""
        words = self.setting.vocabulary.words
        rows = numpy.concatenate([w.targets[direction] for w in windows], axis=1)
        return [[words[i] for i in row if i != NO_TARGET] for row in rows]


def epoch_of(rows, epoch=0):
    windows = []
    for window in rows.following(Position(epoch, 0, 0)):
        windows.append(window)
        if window.end.epoch > epoch:
            return windows


def assert_same(one, other):
    assert one[1:] == other[1:]
    for name in ("inputs", "targets", "words"):
        found, expected = getattr(one.window, name), getattr(other.window, name)
        assert numpy.array_equal(found, expected), name


def windows_in(windows):
    return [window.window for window in windows]


@pytest.mark.parametrize("way", ["stream", "variable", "sentences"])
@pytest.mark.parametrize("n_shards", [1, 3])
def test_reading_goes_on_from_any_position_as_if_it_had_never_stopped(
    kind, n_shards, way
):
    text = Text(kind, n_shards)
    rows = text.rows(variable_bptt=way == "variable")
    if way == "sentences":
        rows = text.sentences()
    windows = list(islice(rows.following(START), 40))
    assert windows[-1].end.epoch > 1
    for number in range(39):
        resumed = rows.following(windows[number].end)
        for window, expected in zip(islice(resumed, 2), windows[number + 1 :]):
            assert_same(window, expected)


def test_an_epoch_reads_every_shard_once(kind):
    text = Text(kind)
    windows = epoch_of(text.rows())
    found = [word for row in text.targets(windows_in(windows)) for word in row]
    n_tokens = sum(len(shard.tokens) for shard in text.shards)
    # Of each shard less than a token per row is left out, and the first one.
    assert n_tokens - 3 * 2 <= len(found) <= n_tokens
    words = [word for word in found if "." in word]
    assert len(words) == len(set(words))


def test_order_of_shards_and_documents_changes_with_epoch_and_seed(kind):
    text = Text(kind)
    read = [
        text.targets(windows_in(epoch_of(text.rows(seed=seed), epoch)))
        for seed, epoch in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert all(read[i] != read[j] for i in range(4) for j in range(i))
    shards = [[row[0].split(".")[0] for row in rows] for rows in read]
    assert len({tuple(first) for first in shards}) > 1


def test_rows_go_on_over_the_borders_of_shards(kind):
    windows = list(islice(Text(kind).rows().following(START), 40))
    starts = [START, *(window.end for window in windows[:-1])]
    for start, window in zip(starts, windows):
        # Only the first window of an epoch starts from zeros.
        assert window.fresh is (start.shard == start.column == 0)
    assert {position.shard for position in starts} == {0, 1, 2}


def test_backward_rows_run_backwards():
    text = Text("bilm", 1)
    windows = windows_in(epoch_of(text.rows(batch_size=1)))
    (forward,), (backward,) = text.targets(windows, 0), text.targets(windows, 1)
    words = [word for word in forward if "." in word]
    assert [word for word in backward if "." in word] == words[::-1]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_the_rows_of_all_processes_together_are_those_of_one(kind, world_size):
    text = Text(kind)
    whole = epoch_of(text.rows(batch_size=4))
    shares = [
        epoch_of(text.rows(batch_size=4, workers=Workers(rank, world_size)))
        for rank in range(world_size)
    ]
    for window, *parts in zip(whole, *shares):
        assert {part[1:] for part in parts} == {window[1:]}
        targets = numpy.concatenate([part.window.targets for part in parts], axis=1)
        assert numpy.array_equal(targets, window.window.targets)
        for part in parts:
            assert part.window.inputs.shape == part.window.targets.shape


def test_rows_that_cannot_be_shared_are_refused():
    with pytest.raises(ValueError, match="batch_size = 3 .* 2 processes"):
        Text("bilm").rows(batch_size=3, workers=Workers(size=2))


def long_text(n_tokens=4010):
    return Text("awd_lstm", 1, [["a", "b", "c", "d"] * (n_tokens // 4)])


def test_lengths_of_windows_vary_around_bptt_and_rates_with_them():
    windows = epoch_of(
        long_text(40_000).rows(batch_size=1, bptt=20, variable_bptt=True)
    )
    lengths = numpy.array([window.window.n_steps for window in windows[:-1]])
    assert lengths.min() >= 5 and 18 < lengths.mean() < 20.5
    assert 4 < lengths[lengths > 5].std() < 7
    for window in windows:
        assert window.rate_scale == window.window.n_steps / 20


def test_windows_are_of_one_length_otherwise():
    windows = epoch_of(long_text().rows(batch_size=1, bptt=20))
    assert {window.window.n_steps for window in windows[:-1]} == {20}
    assert windows[-1].rate_scale == windows[-1].window.n_steps / 20 < 1


def rows_of_windows(text, windows, direction=0):
    """Return what each row of windows reads and predicts, as words."""
    found = []
    for window in windows:
        inputs, targets = window.inputs[direction], window.targets[direction]
        for row, goals in zip(inputs, targets):
            n_steps = int((goals != NO_TARGET).sum())
            assert (goals[n_steps:] == NO_TARGET).all()
            found.append((text.read_words(window, row[:n_steps]), goals[:n_steps]))
    words = text.setting.vocabulary.words
    return [(row, [words[i] for i in goals]) for row, goals in found if len(goals)]


def expected_rows(kind, bptt, direction=0):
    """Return what is read and predicted of each piece of `DOCUMENTS`."""
    rows = []
    for words in DOCUMENTS:
        if kind != "bilm":
            read = ["xxbos", *words]
        else:
            ends = ["<S>", "</S>"]
            if direction:
                words, ends = words[::-1], ends[::-1]
            read = [ends[0], *words, ends[1]]
        steps = range(0, len(read) - 1, bptt)
        rows += [
            (read[i : i + bptt][: len(read) - 1 - i], read[i + 1 : i + 1 + bptt])
            for i in steps
        ]
    return rows


@pytest.mark.parametrize("bptt", [3, 5, 50])
@pytest.mark.parametrize("n_shards", [1, 3])
def test_sentences_are_read_whole_and_each_once(kind, bptt, n_shards):
    text = Text(kind, n_shards)
    windows = epoch_of(text.sentences(bptt=bptt))
    assert all(window.fresh and window.rate_scale == 1.0 for window in windows)
    for direction in range(windows[0].window.inputs.shape[0]):
        found = rows_of_windows(text, windows_in(windows), direction)
        assert sorted(found) == sorted(expected_rows(kind, bptt, direction))


def test_batches_of_sentences_are_of_one_size_and_little_padding(kind):
    text = Text(kind, 1, DOCUMENTS * 20)
    windows = windows_in(epoch_of(text.sentences(batch_size=8, bptt=10)))
    sizes = [window.targets[0].size for window in windows]
    assert max(sizes) <= 80 and numpy.median(sizes) > 70
    n_targets = sum(int((window.targets[0] != NO_TARGET).sum()) for window in windows)
    assert n_targets > 0.9 * sum(sizes)


@pytest.mark.parametrize("world_size", [2, 4])
def test_processes_share_the_sentences_of_a_batch(kind, world_size):
    text = Text(kind)
    shares = [
        epoch_of(text.sentences(workers=Workers(rank, world_size)))
        for rank in range(world_size)
    ]
    assert len({len(share) for share in shares}) == 1
    found = []
    for parts in zip(*shares):
        assert len({part.window.targets.shape for part in parts}) == 1
        for part in parts:
            found += rows_of_windows(text, [part.window])
    assert sorted(found) == sorted(expected_rows(kind, 5))


def test_too_few_tokens_for_the_rows_are_an_error_that_says_so(kind):
    text = Text(kind)
    with pytest.raises(ValueError, match=r"too few for \[lm\] batch_size = 500"):
        next(text.rows(batch_size=500).following(START))


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7])
@pytest.mark.parametrize("n_steps", [3, 128])
def test_held_out_text_is_read_whole_however_it_is_cut(kind, n_shards, n_steps):
    text = Text(kind, n_shards)
    windows = list(held_out_windows(text.shards, text.read, n_steps))
    whole = Text(kind, 1)
    expected = held_out_windows(whole.shards, whole.read, 10_000)
    assert text.targets(windows) == whole.targets(expected)
    assert max(window.n_steps for window in windows) <= n_steps


def test_held_out_shards_have_one_number_of_rows(monkeypatch):
    monkeypatch.setattr(windows_module, "_MIN_ROW_LENGTH", 20)
    text = Text("awd_lstm", 2)
    text.shards.append(number_words([["xxbos", "0.0", "0.1"]]))
    found = list(held_out_windows(text.shards, text.read, 10))
    assert {window.batch_size for window in found} == {len(text.shards[0].tokens) // 20}
    n_tokens = sum(len(shard.tokens) for shard in text.shards)
    assert sum(int((w.targets != NO_TARGET).sum()) for w in found) == n_tokens - 1
