"""`python -m spacy lm embed`, as users call it."""

import gzip
import os
import subprocess
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_elmo_ulmfit.cli import lm_cli
from spacy_elmo_ulmfit.vectors.docbin import read_docs
from spacy_elmo_ulmfit.vectors.store import read_vectors

from ..conftest import TEXTS
from ..vectors.util import LEARNT, write_tagger, write_two

h5py = pytest.importorskip("h5py", reason="HDF5 needs h5py")


def embed(*arguments, code=0):
    """Run the command in this process, and return what it printed."""
    result = CliRunner().invoke(lm_cli, ["embed", *map(str, arguments)])
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def read(path):
    return list(read_vectors(path))


@pytest.fixture
def text(write_text):
    return write_text([*TEXTS, TEXTS[0]])


@pytest.mark.parametrize("suffix", [".hdf5", ".spacy"])
def test_vectors_are_those_of_the_pipeline(suffix, elmo_path, text, tmp_path):
    output = tmp_path / f"vectors{suffix}"
    command = ["lm", "embed", elmo_path, text, output, "--batch-size", 2]
    result = subprocess.run(
        [sys.executable, "-m", "spacy", *map(str, command)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    n_tokens = sum(len(text.split()) for text in [*TEXTS, TEXTS[0]])
    assert f"7 documents, {n_tokens} tokens" in " ".join(result.stdout.split())
    assert "7 docs" in result.stderr
    nlp = spacy.load(elmo_path)
    found = read(output)
    assert len(found) == 7
    for (tokens, vectors), doc in zip(found, nlp.pipe([*TEXTS, TEXTS[0]])):
        assert tokens == [token.text for token in doc]
        assert_allclose(vectors, doc._.elmo.layers, atol=1e-5)


def test_processes_give_the_same_vectors(elmo_path, text, tmp_path):
    for n_process in (1, 2):
        output = tmp_path / f"{n_process}.hdf5"
        embed(elmo_path, text, output, "--n-process", n_process)
    for (tokens, one), (others, two) in zip(*map(read, tmp_path.glob("*.hdf5"))):
        assert tokens == others
        assert_allclose(one, two, atol=1e-5)


@pytest.mark.parametrize(
    "arguments, shape",
    [
        (["--layers", "all"], (3, 6, 12)),
        (["--layers", "top", "--dtype", "float16"], (6, 12)),
        (["--layers", "concat"], (6, 36)),
        (["--layers", "mix", "--weights", "0.2,0.5,0.3", "--gamma", "2"], (6, 12)),
    ],
)
def test_choices_of_layers(arguments, shape, elmo_path, text, tmp_path):
    embed(elmo_path, text, tmp_path / "vectors.h5", *arguments)
    assert read(tmp_path / "vectors.h5")[0][1].shape == shape


def test_the_mix_of_a_component(elmo_path, text, tmp_path):
    tagger_path = write_tagger(elmo_path, tmp_path / "tagger")
    output = tmp_path / "vectors.hdf5"
    embed(tagger_path, text, output, "--layers", "mix", "--from-component", "tagger")
    doc = spacy.load(tagger_path)(TEXTS[0])
    shares = numpy.exp(LEARNT[0]) / numpy.exp(LEARNT[0]).sum()
    expected = doc._.elmo.mix(shares, gamma=LEARNT[1])
    assert_allclose(read(output)[0][1], expected, rtol=1e-4, atol=1e-5)
    with h5py.File(output) as file:
        assert_allclose(file.attrs["weights"], shares, rtol=1e-5)
        assert file.attrs["gamma"] == LEARNT[1]


def test_one_of_several_language_models(elmo_path, awd_lstm_path, text, tmp_path):
    two_path = write_two(elmo_path, awd_lstm_path, tmp_path / "two")
    output = tmp_path / "vectors.spacy"
    printed = embed(two_path, text, output, code=1)
    assert "elmo_tok2vec, awd_lstm_tok2vec" in printed
    embed(two_path, text, output, "--component", "awd_lstm_tok2vec")
    doc = next(read_docs(output, spacy.blank("en").vocab))
    assert doc._.awd_lstm.width == 8 and doc._.elmo is None


def test_compressed_json_lines(elmo_path, tmp_path):
    path = tmp_path / "text.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"text": "Anna"}\n{"text": "tea and cake"}\n'))
    embed(elmo_path, path, tmp_path / "vectors.hdf5")
    assert [tokens for tokens, _ in read(tmp_path / "vectors.hdf5")] == [
        ["Anna"],
        ["tea", "and", "cake"],
    ]


def test_documents_keep_tokens_sentences_and_annotations(elmo_path, tmp_path):
    nlp = spacy.load(elmo_path)
    docs = [nlp.make_doc(text) for text in ("Anna sat . She sang .", "", "Rome")]
    docs[0][3].is_sent_start = True
    docs[2].cats = {"city": 1.0}
    source, output = tmp_path / "docs.spacy", tmp_path / "vectors.spacy"
    DocBin(docs=docs).to_disk(source)
    embed(elmo_path, source, output)
    found = list(read_docs(output, nlp.vocab))
    assert [doc.text for doc in found] == [doc.text for doc in docs]
    assert found[2].cats == {"city": 1.0}
    for again, doc in zip(found, docs):
        assert_allclose(again._.elmo.layers, nlp(doc)._.elmo.layers, atol=1e-5)
    # What was written can be read as input, and be written over.
    embed(elmo_path, output, output, "--layers", "top")
    assert [doc._.elmo.n_layers for doc in read_docs(output, nlp.vocab)] == [1, 1, 1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--layers", "best"], "not a choice of layers"),
        (["--layers", "layer:3"], "layer:0 to layer:2"),
        (["--layers", "mix"], "needs either --weights"),
        (["--layers", "mix", "--weights", "1,x,2"], "expected numbers with commas"),
        (["--layers", "mix", "--weights", "1,2"], "needs 3 weights, not 2"),
        (["--weights", "1,2,3"], "add --layers mix"),
        (["--layers", "mix", "--from-component", "ner"], "'ner' does not listen"),
        (["--component", "ner"], "no language model component 'ner'"),
        (["--dtype", "int8"], "float32 or float16"),
    ],
)
def test_bad_options_are_one_sentence(arguments, message, elmo_path, text, tmp_path):
    output = tmp_path / "out" / "vectors.hdf5"
    assert message in embed(elmo_path, text, output, *arguments, code=1)
    assert not output.parent.exists()


@pytest.mark.parametrize(
    "name, content, message",
    [
        ("nothing.txt", None, "There is no text at"),
        ("text.csv", b"a\n", "is not a text file"),
        ("text.txt", b"\xff\xfe\n", "is not UTF-8"),
        ("docs.spacy", b"PK\x03\x04", "is damaged or no .spacy file"),
        ("nothing.spacy", None, "There is no file"),
    ],
)
def test_bad_input_is_one_sentence(name, content, message, elmo_path, tmp_path):
    path = tmp_path / "in" / name
    path.parent.mkdir()
    if content is not None:
        path.write_bytes(content)
    output = tmp_path / "out" / "vectors.hdf5"
    assert message in embed(elmo_path, path, output, code=1)
    assert not output.exists() and not list(tmp_path.glob("out/*"))


def test_bad_output_is_one_sentence_before_anything_is_loaded(text, monkeypatch):
    assert "must end in" in embed("no/pipeline", text, "vectors.npz", code=1)
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "need h5py" in embed("no/pipeline", text, "vectors.hdf5", code=1)


def test_a_pipeline_without_language_model_is_refused(text, tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    printed = embed(tmp_path / "blank", text, tmp_path / "vectors.spacy", code=1)
    assert "holds no language model" in printed
