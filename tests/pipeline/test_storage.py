"""What a pipeline's weights are on disk, and what they are when it is loaded."""

import json

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from safetensors.torch import load_file, save_file
from spacy.util import load_model_from_config
from thinc.api import Adam, fix_random_seed

from ..conftest import AWD_LSTM, BILM, create_language_model
from .test_ulmfit_ensemble import ensemble
from .test_ulmfit_textcat import build, examples
from .util import listener, load, tagged, tagger, train

TEXT = "Anna lives in Rome .\n She works for Siemens ."
# Sizes at which the weights are most of a file.
CONFIGS = {
    "elmo_tok2vec": BILM.replace("cell_dim = 12", "cell_dim = 192").replace(
        "projection_dim = 6", "projection_dim = 64"
    ),
    "awd_lstm_tok2vec": AWD_LSTM.replace("embedding_dim = 8", "embedding_dim = 64")
    .replace("hidden_dim = 10", "hidden_dim = 128")
    .replace("bptt", "output_dropout = 0.0\nbptt"),
}
SIZES = {"embedding_dim": 64, "hidden_dim": 128, "n_layers": 2}


@pytest.fixture(scope="module", params=sorted(CONFIGS))
def stored(request, tmp_path_factory):
    """Name of a component, and a folder with a pipeline for each storage."""
    folder = tmp_path_factory.mktemp("stored")
    nlp = create_language_model(CONFIGS[request.param])
    for storage in ("float32", "float16", "int8"):
        nlp.get_pipe(request.param).shim.storage = storage
        nlp.config["components"][request.param]["model"]["storage"] = storage
        nlp.to_disk(folder / storage)
    return request.param, folder


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """Path of a pipeline whose AWD-LSTM is stored as int8."""
    path = tmp_path_factory.mktemp("lm") / "pipeline"
    create_language_model(CONFIGS["awd_lstm_tok2vec"] + 'storage = "int8"\n').to_disk(
        path
    )
    return path


def weights(path, component):
    return path / component / "model.safetensors"


def layers(nlp):
    doc = nlp(TEXT)
    return next(value for value in (doc._.elmo, doc._.awd_lstm) if value).layers


def test_int8_is_a_quarter_and_float16_a_half(stored):
    component, folder = stored
    full, half, small = (
        weights(folder / storage, component).stat().st_size
        for storage in ("float32", "float16", "int8")
    )
    assert 0.48 * full < half < 0.55 * full
    assert 0.24 * full < small < 0.32 * full


def test_vectors_are_near_those_of_the_full_weights(stored):
    _, folder = stored
    full, half, small = (
        layers(spacy.load(folder / storage)).astype("float64")
        for storage in ("float32", "float16", "int8")
    )
    assert_allclose(half, full, atol=2e-3 * abs(full).max())
    assert_allclose(small, full, atol=2e-2 * abs(full).max())
    assert not numpy.array_equal(small, full)
    words = abs(full).any(axis=2)
    norms = numpy.linalg.norm(full, axis=2) * numpy.linalg.norm(small, axis=2)
    assert ((full * small).sum(axis=2)[words] > 0.999 * norms[words]).all()


def test_loaded_weights_are_float32_and_the_same_each_time(stored):
    component, folder = stored
    one, other = (spacy.load(folder / "int8") for _ in range(2))
    for parameter in one.get_pipe(component).language_model.parameters():
        assert parameter.dtype == torch.float32
    assert_array_equal(layers(one), layers(other))


@pytest.mark.parametrize("storage", ["float32", "float16", "int8"])
def test_saving_again_changes_no_byte(stored, storage, tmp_path):
    component, folder = stored
    path, expected = folder / storage, layers(spacy.load(folder / storage))
    for i in range(2):
        nlp = spacy.load(path)
        path = tmp_path / str(i)
        nlp.to_disk(path)
        assert (
            weights(path, component).read_bytes()
            == weights(folder / storage, component).read_bytes()
        )
    data = nlp.to_bytes()
    from_bytes = load_model_from_config(nlp.config).from_bytes(data)
    assert from_bytes.to_bytes() == data
    assert_array_equal(layers(from_bytes), expected)


def test_a_pipeline_is_stored_in_another_way_by_its_config(stored, tmp_path):
    component, folder = stored
    override = {f"components.{component}.model.storage": "int8"}
    spacy.load(folder / "float32", config=override).to_disk(tmp_path)
    expected = weights(folder / "int8", component).read_bytes()
    assert weights(tmp_path, component).read_bytes() == expected


def drop_scales(tensors):
    del tensors[next(name for name in tensors if name.startswith("scales."))]


def spoil_scales(tensors):
    tensors[next(name for name in tensors if name.startswith("scales."))][0] = numpy.nan


@pytest.mark.parametrize(
    "damage, problem",
    [(drop_scales, "has no scales"), (spoil_scales, "scales that are not finite")],
)
def test_a_damaged_file_is_one_sentence_and_nothing_is_loaded(
    stored, damage, problem, tmp_path
):
    component, folder = stored
    nlp = spacy.load(folder / "int8")
    nlp.to_disk(tmp_path)
    path = weights(tmp_path, component)
    tensors = load_file(path)
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    damage(tensors)
    save_file(tensors, path, metadata=header["__metadata__"])
    # As of a pipeline that an earlier version wrote.
    (path.parent / "SHA256SUMS").unlink()
    expected = layers(nlp)
    with pytest.raises(ValueError, match=f"model.safetensors is damaged: .*{problem}"):
        nlp.get_pipe(component).from_disk(tmp_path / component, exclude=["vocab"])
    assert_array_equal(layers(nlp), expected)
    with pytest.raises(ValueError, match=f"{component}.*model.safetensors is damaged"):
        spacy.load(tmp_path)


def test_an_unknown_storage_is_refused(stored):
    component, folder = stored
    override = {f"components.{component}.model.storage": "int4"}
    with pytest.raises(ValueError, match="(?s)storage.*'float16', 'int8'"):
        spacy.load(folder / "float32", config=override)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_sourced_bilm_of_int8_is_trained_on(frozen, tmp_path):
    source = create_language_model(CONFIGS["elmo_tok2vec"] + 'storage = "int8"\n')
    source.to_disk(tmp_path / "elmo")
    config = {"source": str(tmp_path / "elmo")}
    nlp = load({"elmo_tok2vec": config, "tagger": tagger(listener(width=128))})
    pipe = nlp.get_pipe("elmo_tok2vec")
    pipe.frozen = frozen
    assert pipe.shim.storage == "int8"
    with nlp.select_pipes(disable=["elmo_tok2vec"]):
        nlp.initialize(lambda: tagged(nlp))
    before = layers(nlp)
    fix_random_seed(0)
    losses = train(nlp, 20, Adam(0.002))
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert numpy.array_equal(layers(nlp), before) is frozen
    nlp.to_disk(tmp_path / "trained")
    again = spacy.load(tmp_path / "trained")
    tolerance = 0.0 if frozen else 2e-2 * abs(before).max()
    assert_allclose(layers(again), layers(nlp), rtol=0, atol=tolerance)
    assert [token.tag_ for token in again(TEXT)] == [t.tag_ for t in nlp(TEXT)]


def test_a_classifier_learns_from_int8_and_is_stored_so(language_model, tmp_path):
    fix_random_seed(0)
    nlp = build(encoder=language_model, storage="int8", **SIZES)
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.005))
    for _ in range(20):
        nlp.update(examples(nlp), sgd=optimizer)
    nlp.to_disk(tmp_path / "small")
    again = spacy.load(tmp_path / "small")
    assert again.evaluate(examples(again))["cats_micro_f"] == 1.0
    for example in examples(nlp):
        text = example.text
        assert_allclose(again(text).cats["food"], nlp(text).cats["food"], atol=0.1)
    nlp.get_pipe("textcat").shim.storage = "float32"
    nlp.to_disk(tmp_path / "full")
    small, full = (
        weights(tmp_path / name, "textcat").stat().st_size for name in ("small", "full")
    )
    assert small < 0.32 * full


def test_both_directions_can_be_stored_as_int8(tmp_path):
    nlp = ensemble(storage="int8", **SIZES)
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "one")
    again = spacy.load(tmp_path / "one")
    again.to_disk(tmp_path / "other")
    for name in ("forward", "backward"):
        file = f"textcat/{name}.safetensors"
        data = (tmp_path / "one" / file).read_bytes()
        assert b"int8_rows" in data
        assert (tmp_path / "other" / file).read_bytes() == data
    assert spacy.load(tmp_path / "other")(TEXT).cats == again(TEXT).cats
    assert_allclose(again(TEXT).cats["food"], nlp(TEXT).cats["food"], atol=0.02)
