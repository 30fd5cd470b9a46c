"""Files of vectors, written and read back."""

import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc, DocBin, Span

from spacy_elmo_ulmfit.layers.doc_layers import get_doc_layers, set_doc_layers
from spacy_elmo_ulmfit.vectors.docbin import read_docs
from spacy_elmo_ulmfit.vectors.store import read_vectors, write_vectors

from .util import TEXTS

pytest.importorskip("h5py", reason="HDF5 needs h5py")
FORMATS = pytest.mark.parametrize("suffix", [".hdf5", ".h5", ".spacy"])
MIX = {"weights": (0.2, 0.5, 0.3), "gamma": 2.0}


def copies(docs):
    return [doc.copy() for doc in docs]


@FORMATS
@pytest.mark.parametrize("layers", ["all", "top", "layer:0", "concat", "mix"])
def test_what_is_read_is_what_was_written(suffix, layers, docs, settings, tmp_path):
    chosen = settings(layers, **(MIX if layers == "mix" else {}))
    path = tmp_path / "new" / f"vectors{suffix}"
    write_vectors(path, copies(docs), chosen)
    found = list(read_vectors(path))
    assert len(found) == len(TEXTS)
    for (tokens, vectors), doc in zip(found, docs):
        assert tokens == [token.text for token in doc]
        assert_array_equal(vectors, chosen.choice(doc._.elmo.layers))
        assert vectors.dtype == numpy.float32
    assert [path] == list(path.parent.iterdir())


@FORMATS
@pytest.mark.parametrize("layers", ["all", "average"])
def test_half_precision(suffix, layers, docs, settings, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    write_vectors(path, copies(docs), settings(layers, "float16"))
    for (_, vectors), doc in zip(read_vectors(path), docs):
        assert vectors.dtype == numpy.float16
        expected = settings(layers).choice(doc._.elmo.layers)
        assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)


def test_hdf5_has_the_layout_other_tools_read(docs, settings, tmp_path):
    import h5py

    path = tmp_path / "vectors.hdf5"
    write_vectors(path, docs, settings("mix", **MIX))
    with h5py.File(path) as file:
        names = {str(number) for number in range(len(TEXTS))}
        assert set(file) == {*names, "tokens"} and set(file["tokens"]) == names
        assert file["0"].shape == (5, 12) and file["1"].shape == (0, 12)
        assert file["tokens/2"][()].tolist()[0] == b"a"
        attributes = dict(file.attrs)
    assert attributes.pop("weights").tolist() == [0.2, 0.5, 0.3]
    assert attributes == {
        "format_version": 1,
        "pipeline": "en_tiny",
        "pipeline_version": "1.2.3",
        "component": "elmo_tok2vec",
        "layers": "mix",
        "gamma": 2.0,
        "dtype": "float32",
        "n_documents": len(TEXTS),
    }


def test_a_nul_character_does_not_stop_the_writing(elmo, settings, tmp_path):
    path = tmp_path / "vectors.hdf5"
    write_vectors(path, [elmo("a \0 b")], settings())
    ((tokens, _),) = read_vectors(path)
    assert tokens == ["a", "\N{REPLACEMENT CHARACTER}", "b"]


@pytest.mark.parametrize("layers, n_layers", [("all", 3), ("average", 1)])
def test_docbin_gives_documents_with_their_attribute(
    layers, n_layers, docs, settings, tmp_path
):
    docs[0].ents = [Span(docs[0], 3, 4, label="LOC")]
    docs[0].user_data["note"] = "kept"
    path = tmp_path / "vectors.spacy"
    write_vectors(path, copies(docs), settings(layers))
    vocab = spacy.blank("en").vocab
    plain = list(DocBin().from_disk(path).get_docs(vocab))
    for again, doc in zip(plain, docs):
        expected = settings(layers).choice(doc._.elmo.layers)
        shape = (n_layers, len(doc), doc._.elmo.width)
        assert_array_equal(again._.elmo.layers, expected.reshape(shape))
        assert_allclose(again._.elmo.vector, doc._.elmo.vector, atol=1e-6)
    assert [ent.text for ent in plain[0].ents] == ["Rome"]
    assert plain[0].user_data["note"] == "kept"


def test_reduced_layers_in_a_docbin_do_not_pass_for_the_components_own(
    docs, settings, tmp_path
):
    for layers, passes in [("all", True), ("top", False)]:
        write_vectors(tmp_path / "x.spacy", copies(docs), settings(layers))
        doc = next(read_docs(tmp_path / "x.spacy", spacy.blank("en").vocab))
        assert (get_doc_layers(doc, "elmo_tok2vec") is not None) == passes


def test_read_docs_brings_the_tensor_back(docs, settings, tmp_path):
    path = tmp_path / "vectors.spacy"
    write_vectors(path, copies(docs), settings(dtype="float16"))
    vocab = spacy.blank("en").vocab
    for again, doc in zip(read_docs(path, vocab), docs):
        assert again.tensor.dtype == numpy.float32
        assert_allclose(again.tensor, doc.tensor, rtol=1e-3, atol=1e-3)
        if len(doc):
            assert_allclose(again[0].vector, doc[0].vector, rtol=1e-3, atol=1e-3)


def test_layers_of_other_components_are_not_written(docs, settings, tmp_path):
    for doc in docs:
        set_doc_layers(doc, "elmo", "other", numpy.zeros((1, len(doc), 2), "f"))
    write_vectors(tmp_path / "vectors.spacy", docs, settings())
    doc = next(read_docs(tmp_path / "vectors.spacy", spacy.blank("en").vocab))
    assert get_doc_layers(doc, "other") is None
    assert doc._.elmo.n_layers == 3


@FORMATS
def test_an_error_on_the_way_leaves_what_was_there(suffix, docs, settings, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    write_vectors(path, copies(docs[:1]), settings())
    before = path.read_bytes()

    def broken():
        yield docs[0]
        raise ValueError("the text is damaged")

    with pytest.raises(ValueError, match="text is damaged"):
        write_vectors(path, broken(), settings())
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@FORMATS
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_one_sentence(suffix, share, docs, settings, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    write_vectors(path, docs, settings())
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ValueError, match=f"vectors{suffix} is damaged or no"):
        list(read_vectors(path))


def test_files_of_another_origin_are_refused(docs, tmp_path):
    import h5py

    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["0"] = numpy.zeros((3, 2, 4))
    plain = Doc(spacy.blank("en").vocab, words=["a"])
    DocBin(docs=[plain]).to_disk(tmp_path / "other.spacy")
    with pytest.raises(ValueError, match="not written by this version"):
        list(read_vectors(tmp_path / "other.hdf5"))
    with pytest.raises(ValueError, match="documents without vectors"):
        list(read_vectors(tmp_path / "other.spacy"))
    with pytest.raises(ValueError, match="no file of vectors"):
        read_vectors(tmp_path / "nothing.h5")


def test_another_suffix_is_refused(docs, settings, tmp_path):
    path = tmp_path / "vectors.npz"
    with pytest.raises(ValueError, match="must end in .hdf5, .h5 or .spacy"):
        write_vectors(path, docs, settings())
    with pytest.raises(ValueError, match="must end in .hdf5, .h5 or .spacy"):
        read_vectors(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".hdf5", ".spacy"])
def test_a_directory_is_no_file_to_write_to(suffix, docs, settings, tmp_path):
    path = tmp_path / f"vectors{suffix}"
    path.mkdir()
    with pytest.raises(ValueError, match="is a directory"):
        write_vectors(path, docs, settings())
    assert list(tmp_path.iterdir()) == [path]


def test_without_h5py_the_way_out_is_named(docs, settings, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ValueError, match=r"spacy-elmo-ulmfit\[hdf5\].*\.spacy"):
        write_vectors(tmp_path / "vectors.hdf5", docs, settings())
    write_vectors(tmp_path / "vectors.spacy", docs, settings())


def test_other_types_are_refused(settings):
    with pytest.raises(ValueError, match="float32 or float16"):
        settings(dtype="float64")
