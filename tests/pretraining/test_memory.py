"""Memory that a text takes, from reading to training, must not grow with the text."""

import tracemalloc

import pytest

from spacy_elmo_ulmfit.pretraining.batching.layout import create_layout
from spacy_elmo_ulmfit.pretraining.batching.training_text import Position
from spacy_elmo_ulmfit.pretraining.batching.windows import (
    create_training_text,
    held_out_windows,
)
from spacy_elmo_ulmfit.pretraining.corpus import corpora
from spacy_elmo_ulmfit.pretraining.corpus.corpora import RawTextReader, corpus_chunks
from spacy_elmo_ulmfit.pretraining.corpus.shards import cut_shards, write_shards
from spacy_elmo_ulmfit.pretraining.corpus.stream import BOUNDARY_TYPES, number_words
from spacy_elmo_ulmfit.pretraining.corpus.word_counts import count_words

from .conftest import make_setting

WORDS_PER_LINE, LINES_PER_SHARD = 20, 100


def write_text(path, n_shards):
    """Write a text that never says a word twice."""
    with path.open("w", encoding="utf-8") as file:
        for line in range(n_shards * LINES_PER_SHARD):
            first = line * WORDS_PER_LINE
            print(
                *(f"w{i:08d}" for i in range(first, first + WORDS_PER_LINE)), file=file
            )
    return path


def words_of(chunk):
    return (["<S>", *text.split()] for text in chunk.texts)


def peak_of(function):
    tracemalloc.start()
    try:
        function()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("step", ["write", "count", "train", "evaluate"])
def test_memory_does_not_grow_with_the_text(tmp_path, step, monkeypatch):
    monkeypatch.setattr(corpora, "_CHUNK_CHARACTERS", 5_000)
    setting = make_setting("bilm", [["a", "b"]])
    read = create_layout(setting.module, setting.vocabulary)

    def prepare(n_shards):
        path = write_text(tmp_path / f"{n_shards}.txt", n_shards)
        chunks = corpus_chunks(RawTextReader(path), None)
        streams = (number_words(words_of(chunk), BOUNDARY_TYPES) for chunk in chunks)
        shards = cut_shards(streams, LINES_PER_SHARD * WORDS_PER_LINE, BOUNDARY_TYPES)
        return write_shards(tmp_path / str(n_shards), shards, {})

    def train(stream):
        settings = {"batch_size": 10, "bptt": 50, "seed": 0}
        text = create_training_text("stream", stream, read, **settings)
        for window in text.following(Position(0, 0, 0)):
            if window.end.epoch:
                return

    def evaluate(stream):
        for _ in held_out_windows(stream, read, 128):
            pass

    # What is loaded with the first use of anything is not counted.
    steps = {
        "count": lambda stream: count_words(stream, max_types=5_000),
        "train": train,
        "evaluate": evaluate,
    }
    peaks = []
    for n_shards in (2, 4, 12):
        if step == "write":
            peaks.append(peak_of(lambda n=n_shards: prepare(n)))
        else:
            stream = prepare(n_shards)
            assert len(stream) >= n_shards
            peaks.append(peak_of(lambda stream=stream: steps[step](stream)))
    assert peaks[2] < 1.2 * peaks[1]
