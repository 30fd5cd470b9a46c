import multiprocessing
import os
import pickle
import signal
from functools import partial

import pytest
import spacy
import torch
from spacy.tokens import DocBin
from spacy.training import Corpus

from spacy_elmo_ulmfit.pretraining.corpus import corpora, reading
from spacy_elmo_ulmfit.pretraining.corpus.corpora import (
    RawTextReader,
    TextChunk,
    corpus_chunks,
)
from spacy_elmo_ulmfit.pretraining.corpus.reading import StreamReader, read_in_processes

from ...conftest import AWD_LSTM, BILM, TEXTS, create_language_model
from .test_shards import assert_equal, spelled

COMPONENTS = {"elmo_tok2vec": BILM, "awd_lstm_tok2vec": AWD_LSTM}


@pytest.fixture(params=list(COMPONENTS))
def component(request):
    return request.param


@pytest.fixture
def load(component):
    def function():
        function.n_calls += 1
        nlp = create_language_model(COMPONENTS[component])
        nlp.add_pipe("sentencizer", first=True)
        return nlp

    function.n_calls = 0
    return function


@pytest.fixture
def read(load, component):
    return StreamReader(load, component)


def chunks_of(texts, size=2):
    return [TextChunk(texts[i : i + size]) for i in range(0, len(texts), size)]


def test_documents_are_read_as_the_language_model_reads_them(read, component):
    stream = read(TextChunk(["Anna drinks tea. Bob met Anna.", " ", "Rome is wide."]))
    if component == "elmo_tok2vec":
        assert spelled(stream) == [
            ["<S>", "Anna", "drinks", "tea", ".", "<S>", "Bob", "met", "Anna", "."],
            ["<S>", "Rome", "is", "wide", "."],
        ]
    else:
        assert spelled(stream)[-1] == ["xxbos", "xxmaj", "rome", "is", "wide", "."]


@pytest.mark.parametrize("n_process", [2, 3, -1])
def test_what_is_read_does_not_depend_on_the_number_of_processes(read, n_process):
    chunks = chunks_of([f"{text} {i}" for i in range(3) for text in TEXTS])
    found = list(read.read_all(chunks, n_process))
    expected = list(read.read_all(chunks))
    assert len(found) == len(expected) == 9
    for one, other in zip(found, expected):
        assert_equal(one, other)


def test_a_process_that_is_no_fork_reads_the_same(component):
    read = StreamReader(
        partial(create_language_model, COMPONENTS[component]), component
    )
    again = pickle.loads(pickle.dumps(read))
    assert_equal(again(TextChunk(TEXTS)), read(TextChunk(TEXTS)))


@pytest.mark.skipif(
    "forkserver" not in multiprocessing.get_all_start_methods(),
    reason="processes are not forks here anyway",
)
def test_where_a_gpu_is_in_use_no_process_is_a_fork_of_its_user(component, monkeypatch):
    read = StreamReader(
        partial(create_language_model, COMPONENTS[component]), component
    )
    chunks = chunks_of(TEXTS)
    expected = list(read.read_all(chunks))
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    # A fork would have the GPU's user as its parent; these have the server.
    (parent,) = set(read_in_processes(parent_process, chunks, 2))
    assert parent != os.getpid()
    for one, other in zip(read.read_all(chunks, 2), expected):
        assert_equal(one, other)


def parent_process(chunk):
    return os.getppid()


def test_only_so_many_parts_are_read_ahead(read):
    taken = []

    def chunks():
        for chunk in chunks_of(TEXTS * 3):
            taken.append(chunk)
            yield chunk

    for number, _ in enumerate(read.read_all(chunks(), 2), 1):
        assert len(taken) <= number + 1


def test_a_pipeline_that_knows_too_many_words_is_loaded_anew(load, read, monkeypatch):
    texts = [" ".join(f"w{part}x{i}" for i in range(200)) for part in range(20)]
    expected = [read(chunk) for chunk in chunks_of(texts)]
    assert load.n_calls == 1
    monkeypatch.setattr(reading, "_MAX_STRINGS", 500)
    at_rest = len(load().vocab.strings)
    for chunk, other in zip(chunks_of(texts), expected):
        assert_equal(read(chunk), other)
        assert len(read.nlp.vocab.strings) <= at_rest + 500 + 400
    assert load.n_calls > 3


def failing(chunk):
    if chunk.texts == ["bad"]:
        raise ValueError("line 7 of it is bad")
    return chunk


def dying(chunk):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("place", [0, 1, 4])
def test_errors_in_a_process_are_those_of_the_command(place):
    chunks = chunks_of(["good"] * 5, 1)
    chunks.insert(place, TextChunk(["bad"]))
    with pytest.raises(ValueError, match="line 7 of it is bad"):
        list(read_in_processes(failing, chunks, 2))


def test_a_process_that_is_killed_is_an_error_not_a_gap():
    with pytest.raises(ValueError, match="ended from outside, with exit code -9"):
        list(read_in_processes(dying, chunks_of(["a"], 1), 2))


def test_documents_of_any_reader_are_read(read, tmp_path, monkeypatch):
    monkeypatch.setattr(corpora, "_CHUNK_TOKENS", 10)
    nlp = spacy.blank("en")
    DocBin(docs=map(nlp.make_doc, TEXTS)).to_disk(tmp_path / "a.spacy")
    (tmp_path / "b.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    streams = [
        [document for stream in read.read_all(chunks) for document in spelled(stream)]
        for chunks in (
            corpus_chunks(Corpus(tmp_path / "a.spacy"), read.nlp),
            corpus_chunks(RawTextReader(tmp_path / "a.spacy"), read.nlp),
            corpus_chunks(RawTextReader(tmp_path / "b.txt"), read.nlp),
        )
    ]
    assert streams[0] == streams[1] == streams[2]
    assert len(list(corpus_chunks(Corpus(tmp_path / "a.spacy"), read.nlp))) > 2


def test_a_reader_is_told_apart_by_all_that_changes_what_is_read(load, component):
    found = [StreamReader(load, component).identity()]
    assert found[0] == StreamReader(load, component).identity()
    for change in ("tokenizer", "components", "language_model"):
        read = StreamReader(load, component)
        if change == "tokenizer":
            read.nlp.tokenizer.add_special_case("tea", [{"ORTH": "t"}, {"ORTH": "ea"}])
        elif change == "components":
            read.nlp.remove_pipe("sentencizer")
            read.nlp.add_pipe("sentencizer", config={"punct_chars": ["!"]}, first=True)
        elif component == "elmo_tok2vec":
            read.nlp.get_pipe(component).model.attrs["sequences"] = "doc"
        else:
            read.nlp.get_pipe(component).shim.tokens = "doc"
            read.nlp.get_pipe(component).shim.create_tokenizer("en")
        identity = read.identity()
        differing = {key for key in identity if identity[key] != found[0][key]}
        assert differing == {change}


@pytest.mark.parametrize(
    "name, message", [("ner", "not in the pipeline"), ("sentencizer", "no language")]
)
def test_a_component_that_reads_nothing_is_named(load, name, message):
    with pytest.raises(ValueError, match=f"component = '{name}' .*{message}"):
        StreamReader(load, name)
