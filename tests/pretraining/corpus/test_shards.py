import logging
from itertools import islice

import numpy
import pytest
import srsly
from hypothesis import given
from hypothesis import strategies as st

from spacy_elmo_ulmfit.pretraining.corpus.shards import (
    MANIFEST_FILE,
    ShardedStream,
    cut_shards,
    prepare_shards,
    read_manifest,
    write_shards,
)
from spacy_elmo_ulmfit.pretraining.corpus.stream import join_streams, number_words

FIRST = ("<S>", "</S>")
DOCUMENTS = st.lists(st.lists(st.sampled_from("abcde"), min_size=2, max_size=7))
IDENTITY = {"files": {"a.txt": "1", "b.txt": "2"}, "shard_tokens": 4}


def spelled(stream):
    """Return the documents of a stream as words."""
    edges = [*stream.doc_starts.tolist(), len(stream.tokens)]
    return [
        [stream.types[i] for i in stream.tokens[start:end]]
        for start, end in zip(edges, edges[1:])
    ]


def chunked(documents, size):
    """Yield the streams of so many documents each."""
    rest = iter(documents)
    while part := list(islice(rest, size)):
        yield number_words(part, FIRST)


def shards_of(documents, shard_tokens=4, size=3):
    return list(cut_shards(chunked(documents, size), shard_tokens, FIRST))


def assert_equal(one, other):
    assert one.types == other.types
    assert numpy.array_equal(one.tokens, other.tokens)
    assert numpy.array_equal(one.doc_starts, other.doc_starts)


@given(DOCUMENTS, st.integers(1, 12), st.integers(1, 5), st.integers(1, 5))
def test_shards_do_not_depend_on_the_parts_in_which_a_text_is_read(
    documents, shard_tokens, size, other_size
):
    found = shards_of(documents, shard_tokens, size)
    others = shards_of(documents, shard_tokens, other_size)
    assert len(found) == len(others)
    for one, other in zip(found, others):
        assert_equal(one, other)
    assert sum(map(spelled, found), []) == documents


@given(DOCUMENTS, st.integers(1, 20))
def test_shards_are_of_about_the_size_that_is_asked_for(documents, shard_tokens):
    sizes = [len(shard.tokens) for shard in shards_of(documents, shard_tokens)]
    longest = max(map(len, documents), default=0)
    for size in sizes[:-1]:
        assert shard_tokens <= size < shard_tokens + longest
    if len(sizes) > 1:
        assert sizes[-1] >= 0.5 * shard_tokens - longest
        assert sizes[-1] < max(1.5 * shard_tokens, shard_tokens + longest)


@given(DOCUMENTS, st.integers(1, 12))
def test_a_shard_knows_its_own_words_alone(documents, shard_tokens):
    for shard in shards_of(documents, shard_tokens):
        words = {word for document in spelled(shard) for word in document}
        assert shard.types[:2] == list(FIRST)
        assert sorted(shard.types[2:]) == sorted(words)


def test_joined_streams_are_numbered_as_one_text():
    documents = [["b", "a"], ["c", "a", "b"], ["d", "a"]]
    parts = list(chunked(documents, 1))
    assert_equal(join_streams(parts, FIRST), number_words(documents, FIRST))


def test_documents_without_anything_to_predict_leave_no_trace():
    documents = [["a", "b"], ["c"], [], ["d", "e"]]
    (shard,) = shards_of(documents, 100)
    assert spelled(shard) == [["a", "b"], ["d", "e"]]
    assert "c" not in shard.types
    assert shards_of([["c"], []]) == []


def test_written_shards_are_read_again(tmp_path):
    shards = shards_of([["ä", "\u2028"], ["三", "ä", "x"], ["y", "z"]], 2)
    written = write_shards(tmp_path / "deep" / "text", shards, IDENTITY)
    again = ShardedStream(written.path, read_manifest(written.path))
    assert len(again) == len(shards) == 3
    for one, other in zip(again, shards):
        assert_equal(one, other)
    assert again.n_tokens == 7
    assert again.fingerprint() == written.fingerprint()


def test_fingerprints_tell_texts_apart(tmp_path):
    documents = [["a", "b"], ["c", "d", "e"], ["a", "a"]]
    prints = {
        write_shards(
            tmp_path / str(number), shards_of(text, size), IDENTITY
        ).fingerprint()
        for number, (text, size) in enumerate(
            [(documents, 2), (documents, 4), (documents[::-1], 4), (documents[:2], 2)]
        )
    }
    assert len(prints) == 4


class Cut:
    """Cuts a text, and counts how often."""

    def __init__(self, documents, failure=None):
        self.documents, self.failure, self.n_calls = documents, failure, 0

    def __call__(self):
        self.n_calls += 1
        yield from shards_of(self.documents)
        if self.failure:
            raise self.failure


def prepare(path, cut, resume=False, **changes):
    return prepare_shards(path, {**IDENTITY, **changes}, cut, seen={}, resume=resume)


TEXT = [["a", "b"], ["c", "d", "e"], ["a", "a"]]


@pytest.mark.parametrize("resume", [False, True])
def test_shards_are_made_once(tmp_path, resume):
    cut = Cut(TEXT)
    first = prepare(tmp_path / "text", cut)
    second = prepare(tmp_path / "text", cut, resume=resume)
    assert cut.n_calls == 1
    assert first.fingerprint() == second.fingerprint()


def test_they_are_made_anew_when_something_changed_which_is_logged(tmp_path, caplog):
    prepare(tmp_path / "text", Cut([["x", "y"]]))
    cut = Cut(TEXT)
    with caplog.at_level(logging.INFO, "spacy"):
        found = prepare(tmp_path / "text", cut, files={"a.txt": "9"}, shard_tokens=5)
    assert cut.n_calls == 1 and found.n_tokens == 7
    assert "files (a.txt, b.txt); shard_tokens = 4, now 5" in caplog.text


def test_a_resumed_run_says_what_changed(tmp_path):
    prepare(tmp_path / "text", Cut(TEXT))
    with pytest.raises(ValueError, match=r"changed since: files \(b.txt\)\. Resume"):
        files = {"a.txt": "1", "b.txt": "3"}
        prepare(tmp_path / "text", Cut(TEXT), resume=True, files=files)


def test_a_corpus_of_unknown_files_is_trusted_by_resumed_runs_alone(tmp_path):
    cut = Cut(TEXT)
    for resume, n_calls in ((False, 1), (True, 1), (False, 2)):
        prepare(tmp_path / "text", cut, resume=resume, files=None)
        assert cut.n_calls == n_calls


@pytest.mark.parametrize("failure", [KeyboardInterrupt(), ValueError(), OSError()])
def test_an_interrupted_text_is_not_taken_for_a_whole_one(tmp_path, failure):
    with pytest.raises(type(failure)):
        prepare(tmp_path / "text", Cut(TEXT, failure))
    assert list(tmp_path.iterdir()) == []
    assert prepare(tmp_path / "text", Cut(TEXT)).n_tokens == 7


def test_what_a_killed_process_left_is_not_taken_for_a_text(tmp_path):
    whole = write_shards(tmp_path / "whole", shards_of(TEXT), IDENTITY)
    # The last thing that is written is the manifest, and then the folder gets its name.
    whole.path.rename(tmp_path / "text.tmp")
    (tmp_path / "text.tmp" / MANIFEST_FILE).unlink()
    cut = Cut(TEXT)
    prepare(tmp_path / "text", cut)
    assert cut.n_calls == 1
    assert [path.name for path in tmp_path.iterdir()] == ["text"]


@pytest.mark.parametrize("name", ["tokens.npy", "types.json", "doc_starts.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut"])
def test_a_damaged_shard_is_named(tmp_path, name, damage):
    shards = write_shards(tmp_path / "text", shards_of(TEXT), IDENTITY)
    file = tmp_path / "text" / "00000" / name
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-3] if damage == "cut" else b"")
    with pytest.raises(ValueError, match="text.*damaged.*Delete .*text"):
        shards[0]


def test_a_shard_of_another_text_is_named(tmp_path):
    shards = write_shards(tmp_path / "text", shards_of(TEXT), IDENTITY)
    number_words([["a", "b"]]).save(tmp_path / "text" / "00000")
    with pytest.raises(ValueError, match="00000 has another number of tokens"):
        shards[0]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"files": 1}'])
def test_a_damaged_manifest_is_named(tmp_path, content):
    write_shards(tmp_path / "text", shards_of(TEXT), IDENTITY)
    (tmp_path / "text" / MANIFEST_FILE).write_text(content)
    with pytest.raises(ValueError, match=f"{MANIFEST_FILE} is damaged.*Delete"):
        prepare(tmp_path / "text", Cut(TEXT))


def test_a_manifest_tells_what_is_in_the_shards(tmp_path):
    write_shards(tmp_path / "text", shards_of(TEXT), IDENTITY)
    manifest = srsly.read_json(tmp_path / "text" / MANIFEST_FILE)
    assert manifest["files"] == IDENTITY["files"]
    assert sum(shard["n_tokens"] for shard in manifest["shards"]) == 7
    assert sum(shard["n_docs"] for shard in manifest["shards"]) == 3
