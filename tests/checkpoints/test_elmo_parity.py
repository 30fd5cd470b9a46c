"""Every published ELMo layout, read and written, against the NumPy reference."""

import itertools
import json
import os
from pathlib import Path

import h5py
import numpy
import pytest
import torch
from numpy.testing import assert_allclose

from spacy_elmo_ulmfit.checkpoints import read_elmo, write_bilm_tf
from spacy_elmo_ulmfit.text import read_indexer

from ..reference.elmo_numpy import (
    read_allennlp,
    read_bilm_tf,
    read_dic,
    read_many_langs,
)
from ..reference.files import (
    ALLENNLP_PREFIX,
    DOCUMENTS,
    MANY_LANGS_CONFIG,
    TRAINING_OPTIONS,
    BiLMFiles,
    Sizes,
    allennlp_entries,
    nlpl_entries,
    read_hdf5,
    write_bilm_files,
    write_folder,
    write_many_langs,
    write_tar,
    write_word_input,
    write_zip,
)

DATA = os.environ.get("SEU_DATA")
# Long enough for cells to grow until they are clipped.
LONG = "the river near Rome is wide and the sea is not far from it .".split()
SENTENCES = [LONG, *(words for words in DOCUMENTS if words)]


def indexer_of(imported):
    return read_indexer(imported.checkpoint.extra["indexer"])


def layers_of(imported, words):
    """All layers of a sentence from zeros, as the imported module computes them."""
    indexer = indexer_of(imported)
    ids = indexer.encode([indexer.begin, *words, indexer.end])
    with torch.no_grad():
        layers = imported.module.encode(
            torch.from_numpy(ids),
            torch.arange(len(ids)),
            [len(ids)],
            initial_state="zeros",
        )
    return layers[:, 1:-1].numpy()


def assert_parity(imported, reference, sentences=SENTENCES):
    assert not imported.module.training
    for words in sentences:
        expected = reference.layers(words)
        found = layers_of(imported, words)
        assert_allclose(found, expected, rtol=0, atol=1e-5, err_msg=str(words))


def assert_same_arrays(path, other):
    """An only cell is written with its number, and found without it as well."""
    expected = read_hdf5(other)
    assert len(read_hdf5(path)) == len(expected)
    with h5py.File(path) as file:
        for name, array in expected.items():
            found = file[name][...]
            assert found.dtype == array.dtype == numpy.float32
            numpy.testing.assert_array_equal(found, array, err_msg=name)


def inference_options(path):
    """What options.json says about the computation, however it says it."""
    options = json.loads(path.read_text("utf-8"))
    lstm, cnn = options["lstm"], options.get("char_cnn")
    settings = {
        "dim": lstm["dim"],
        "projection_dim": lstm["projection_dim"],
        "n_layers": lstm.get("n_layers", 1),
        "cell_clip": lstm["cell_clip"] or None,
        "proj_clip": lstm["proj_clip"] or None,
        "residual": lstm["use_skip_connections"],
    }
    if cnn is not None:
        settings["char_dim"] = cnn["embedding"]["dim"]
        settings["filters"] = cnn["filters"]
        settings["activation"] = cnn["activation"]
        settings["max_chars"] = cnn["max_characters_per_token"]
        settings["n_highway"] = cnn.get("n_highway") or 0
    return settings


def assert_round_trip(imported, files, folder):
    """Export an import and compare it with what was imported."""
    folder.mkdir()
    write_bilm_tf(folder, imported.checkpoint)
    assert_same_arrays(folder / "weights.hdf5", files.weights)
    assert inference_options(folder / "options.json") == inference_options(
        files.options
    )


PRODUCT = itertools.product(
    [True, False],
    [None, 0, 1, 2],
    ["relu", "tanh"],
    [(262, 50), (261, 30)],
    [(None, None), (0, 0), (3, 3.0), (3, None), (None, 3)],
)


@pytest.mark.parametrize("residual, n_highway, activation, characters, clips", PRODUCT)
def test_bilm_tf_options(residual, n_highway, activation, characters, clips, tmp_path):
    sizes = Sizes(
        residual=residual,
        n_highway=n_highway,
        activation=activation,
        n_characters=characters[0],
        max_chars=characters[1],
        cell_clip=clips[0],
        proj_clip=clips[1],
    )
    files = write_bilm_files(tmp_path / "model", sizes)
    imported = read_elmo(tmp_path / "model")
    assert imported.format == "bilm-tf"
    reference = read_bilm_tf(files.options, files.weights)
    assert_parity(imported, reference, [LONG, DOCUMENTS[1]])
    assert_round_trip(imported, files, tmp_path / "exported")


NARROW = ((1, 2), (2, 3))  # 5 filters in all: no projection to a width of 5


@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(filters=NARROW),
        Sizes(dim=5, proj_clip=0.05),
        Sizes(dim=5, filters=NARROW, residual=False),
        Sizes(n_layers=1),
        Sizes(n_layers=1, single_cell=True),
        Sizes(n_layers=1, single_cell=True, dim=5, filters=NARROW),
        Sizes(n_layers=3),
        Sizes(n_layers=4, residual=False),
        Sizes(filters=((7, 6),), max_chars=7),
        Sizes(filters=((2, 3), (1, 2), (2, 4))),
        Sizes(extras=TRAINING_OPTIONS, n_characters=261),
    ],
    ids=str,
)
def test_bilm_tf_sizes(sizes, tmp_path):
    files = write_bilm_files(tmp_path / "model", sizes)
    imported = read_elmo(tmp_path / "model")
    assert_parity(imported, read_bilm_tf(files.options, files.weights))
    assert_round_trip(imported, files, tmp_path / "exported")


def test_options_and_weights_can_be_named(tmp_path):
    """Also as they are downloaded, with longer names and other models beside them."""
    files = write_bilm_files(tmp_path, prefix="elmo_small_")
    write_bilm_files(tmp_path, Sizes(dim=4), prefix="elmo_other_", seed=1)
    reference = read_bilm_tf(files.options, files.weights)
    assert_parity(read_elmo(files.options, weights=files.weights), reference, [LONG])
    assert_parity(read_elmo(files.weights, options=files.options), reference, [LONG])


def test_one_model_in_a_folder_can_have_any_name(tmp_path):
    files = write_bilm_files(tmp_path, prefix="elmo_2x7_5_")
    reference = read_bilm_tf(files.options, files.weights)
    assert_parity(read_elmo(tmp_path), reference, [LONG])


def test_words_are_read_as_the_published_models_read_them(tmp_path):
    """What no document can hold: half of a surrogate pair is left out."""
    files = write_bilm_files(tmp_path)
    imported = read_elmo(tmp_path)
    reference = read_bilm_tf(files.options, files.weights)
    words = ["a\ud800b", "\ud800", "", "é" * 24 + "a", "a" + "é" * 24]
    assert_parity(imported, reference, [words])


@pytest.mark.parametrize("named", [True, False])
def test_word_input(named, tmp_path):
    words = ["the", "river", "Rome", ".", "日本", "🙂🙃"]
    files = write_word_input(tmp_path / "model", words)
    reference = read_bilm_tf(files.options, files.weights, files.vocab)
    if named:
        files.vocab.rename(tmp_path / "words.txt")
        files = files._replace(vocab=tmp_path / "words.txt")
        imported = read_elmo(tmp_path / "model", vocab=files.vocab)
    else:
        imported = read_elmo(tmp_path / "model")
    assert_parity(imported, reference)
    assert_round_trip(imported, files, tmp_path / "exported")
    exported = (tmp_path / "exported" / "vocab.txt").read_text("utf-8")
    assert exported == files.vocab.read_text("utf-8")


def test_unknown_words_of_word_input_are_the_unknown_word(tmp_path):
    write_word_input(tmp_path, ["the", "sea"])
    imported = read_elmo(tmp_path)
    ids = indexer_of(imported).encode(["<UNK>", "xyzzy", "The", "the"])
    assert (ids[0] == ids[1]).all() and (ids[0] == ids[2]).all()
    assert (ids[0] != ids[3]).any()


def as_folder(folder, entries, name):
    return write_folder(folder / name, entries)


def as_zip(folder, entries, name):
    return write_zip(folder / f"{name}.zip", entries)


def as_tar(folder, entries, name):
    return write_tar(folder / f"{name}.tar.gz", entries)


@pytest.mark.parametrize("pack", [as_zip, as_folder, as_tar])
def test_nlpl(pack, tmp_path):
    entries = nlpl_entries(Sizes(), words=["the", "river", "naïve"])
    imported = read_elmo(pack(tmp_path, entries, "999"))
    assert imported.format == "bilm-tf"
    folder = write_folder(tmp_path / "unpacked", entries)
    reference = read_bilm_tf(folder / "options.json", folder / "model.hdf5")
    assert_parity(imported, reference)


def test_an_archive_may_hold_its_files_in_a_folder(tmp_path):
    entries = nlpl_entries(Sizes())
    packed = {f"999/{name}": data for name, data in entries.items()}
    imported = read_elmo(write_zip(tmp_path / "999.zip", packed))
    folder = write_folder(tmp_path / "unpacked", entries)
    reference = read_bilm_tf(folder / "options.json", folder / "model.hdf5")
    assert_parity(imported, reference, [LONG])


@pytest.mark.parametrize("n_mixes", [0, 1, 3])
@pytest.mark.parametrize("options", ["beside", "path", "archived"])
@pytest.mark.parametrize("pack", [as_tar, as_folder])
def test_allennlp(pack, options, n_mixes, tmp_path):
    sizes = Sizes(n_highway=2, activation="tanh", max_chars=30)
    entries = allennlp_entries(sizes, options=options, n_mixes=n_mixes)
    imported = read_elmo(pack(tmp_path, entries, "model"))
    assert imported.format == "allennlp"
    assert_parity(imported, allennlp_reference(sizes, tmp_path))


def allennlp_reference(sizes, folder):
    unpacked = write_folder(folder / "unpacked", allennlp_entries(sizes))
    return read_allennlp(
        unpacked / "options.json",
        unpacked / "weights.th",
        prefix=f"{ALLENNLP_PREFIX}_elmo_lstm.",
    )


@pytest.mark.parametrize(
    "prefix",
    [
        ALLENNLP_PREFIX,
        "text_field_embedder.token_embedder_my_elmo._elmo.",
        "_elmo.",
        "_text_field_embedder._embedder.token_embedder_elmo._elmo.",
        "",
    ],
)
def test_allennlp_state_dicts_by_themselves(prefix, tmp_path):
    sizes = Sizes(n_layers=3)
    entries = allennlp_entries(sizes, prefix=prefix, weights="best.th")
    folder = write_folder(tmp_path / "run", entries)
    imported = read_elmo(folder / "best.th", options=folder / "options.json")
    reference = allennlp_reference(sizes, tmp_path)
    assert_parity(imported, reference, [LONG, DOCUMENTS[1]])
    imported = read_elmo(folder / "options.json", weights=folder / "best.th")
    assert_parity(imported, reference, [LONG])


def test_allennlp_model_without_options_takes_those_given(tmp_path):
    sizes = Sizes(cell_clip=None)
    path = as_tar(tmp_path, allennlp_entries(sizes, options="nowhere"), "model")
    reference = allennlp_reference(sizes, tmp_path)
    options = tmp_path / "unpacked" / "options.json"
    assert_parity(read_elmo(path, options=options), reference)


def test_allennlp_model_exports_to_the_hdf5_it_came_from(tmp_path):
    sizes = Sizes(n_highway=2)
    files = write_bilm_files(tmp_path / "hdf5", sizes, seed=5)
    entries = allennlp_entries(sizes, seed=5)
    imported = read_elmo(as_tar(tmp_path, entries, "model"))
    exported = tmp_path / "exported"
    exported.mkdir()
    write_bilm_tf(exported, imported.checkpoint)
    found = read_hdf5(exported / "weights.hdf5")
    expected = read_hdf5(files.weights)
    assert sorted(found) == sorted(expected)
    for name, array in expected.items():
        # AllenNLP has added 1 to the forget gate's bias, and rounded.
        atol = 3e-7 if name.endswith("/B") else 0
        assert_allclose(found[name], array, rtol=0, atol=atol, err_msg=name)
    reference = read_bilm_tf(exported / "options.json", exported / "weights.hdf5")
    assert_parity(imported, reference, [LONG])


@pytest.mark.parametrize("word_dim", [0, 4])
@pytest.mark.parametrize("config", ["beside", "configs"])
@pytest.mark.parametrize(
    "sizes",
    [
        Sizes(),
        Sizes(n_highway=2, activation="tanh", max_chars=8),
        Sizes(n_highway=0, n_layers=1, cell_clip=1.0, proj_clip=0.5),
        Sizes(filters=((1, 2), (2, 3)), n_layers=3),
    ],
    ids=str,
)
def test_many_langs(sizes, config, word_dim, tmp_path):
    folder = write_many_langs(
        tmp_path / "model", sizes, word_dim=word_dim, config=config
    )
    places = {
        "beside": folder / MANY_LANGS_CONFIG,
        "configs": folder / "configs" / MANY_LANGS_CONFIG,
    }
    imported = read_elmo(folder)
    assert imported.format == "elmo-for-many-langs"
    indexer = indexer_of(imported)
    assert (indexer.begin, indexer.end) == ("<bos>", "<eos>")
    assert_parity(imported, read_many_langs(folder, places[config]))


@pytest.mark.parametrize("word_dim", [0, 4])
def test_many_langs_without_the_config_of_its_network(word_dim, tmp_path):
    """The arrays say the sizes; the rest is as in all published models."""
    folder = write_many_langs(tmp_path, word_dim=word_dim, config="missing")
    assert_parity(read_elmo(folder), read_many_langs(folder))


@pytest.mark.parametrize("pack", [as_zip, as_tar])
def test_many_langs_in_an_archive(pack, tmp_path):
    folder = write_many_langs(tmp_path / "model")
    entries = {path.name: path.read_bytes() for path in folder.iterdir()}
    reference = read_many_langs(folder, folder / MANY_LANGS_CONFIG)
    assert_parity(read_elmo(pack(tmp_path, entries, "136")), reference, [LONG])


def test_many_langs_cuts_words_before_it_looks_them_up(tmp_path):
    """The word "xx...x" of 48 letters is in word.dic, as such words are."""
    folder = write_many_langs(tmp_path)
    assert "x" * 48 in read_dic(folder / "word.dic")
    ids = indexer_of(read_elmo(folder)).encode(["x" * 48, "x" * 300, "x" * 47])
    assert (ids[0] == ids[1]).all()
    assert ids[0, 0] != ids[2, 0]


def test_many_langs_cannot_become_hdf5(tmp_path):
    """Those files have no place for a dictionary of characters."""
    imported = read_elmo(write_many_langs(tmp_path / "model"))
    with pytest.raises(ValueError, match="bilm-tf"):
        write_bilm_tf(tmp_path, imported.checkpoint)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.fixture(params=["allennlp", "bilm-tf/model"])
def published(request):
    return published_folder(request.param)


def published_folder(name):
    if not DATA:
        pytest.skip("SEU_DATA is not set: no published fixtures")
    folder = Path(DATA) / "fixtures" / "elmo" / name
    if not folder.exists():
        pytest.skip(f"SEU_DATA holds no {name} fixture")
    return folder


def test_published_fixtures(published, tmp_path):
    options, weights = published / "options.json", published / "lm_weights.hdf5"
    imported = read_elmo(options, weights=weights)
    assert_parity(imported, read_bilm_tf(options, weights))
    assert_round_trip(imported, BiLMFiles(options, weights), tmp_path / "exported")


@pytest.mark.parametrize("language", ["es", "fr", "it"])
def test_published_fixtures_with_training_options(language):
    folder = published_folder("allennlp") / "multilingual-v0.9.0" / language
    options, weights = folder / "options.json", folder / "weights.hdf5"
    imported = read_elmo(options, weights=weights)
    assert_parity(imported, read_bilm_tf(options, weights), [LONG, DOCUMENTS[1]])
