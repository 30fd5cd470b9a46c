"""Vectors of published biLMs; needs the fixtures of AllenNLP and bilm-tf.

SEU_DATA names a folder that holds `fixtures/elmo/allennlp`, AllenNLP's test fixture
(`test_fixtures/elmo`), and `fixtures/elmo/bilm-tf/model`, bilm-tf's
(`tests/fixtures/model`).
"""

import json
import os
from pathlib import Path

import numpy
import pytest
import spacy
import torch

from spacy_elmo_ulmfit.checkpoints import read_elmo
from spacy_elmo_ulmfit.text import ByteIndexer, words_to_chars
from spacy_elmo_ulmfit.text.neutral import neutral_sentences, store_warm_state

DATA = os.environ.get("SEU_DATA")
if not DATA:
    pytest.skip("SEU_DATA is not set: no published fixtures", allow_module_level=True)
h5py = pytest.importorskip("h5py", reason="h5py is needed to read published weights")

FOLDER = Path(DATA) / "fixtures" / "elmo"
SETS = {
    "allennlp": ("allennlp", "sentences.json"),
    "bilm-tf": ("bilm-tf/model", "lm_embeddings_sentences.json"),
}


@pytest.fixture(scope="module", params=sorted(SETS))
def published(request):
    """Return folder, biLM with the published weights, and the batches of sentences."""
    name, sentences = SETS[request.param]
    folder = FOLDER / name
    if not folder.exists():
        pytest.skip(f"SEU_DATA holds no {name} fixture")
    rows = json.loads((folder / sentences).read_text(encoding="utf8"))
    # Sentence i of each list is one row of batch i.
    batches = [[sentence.split() for sentence in batch] for batch in zip(*rows)]
    return folder, read_elmo(folder).module, batches


def char_ids(sentences, max_chars):
    words = [w for sentence in sentences for w in ["<S>", *sentence, "</S>"]]
    return torch.from_numpy(words_to_chars(words, max_chars))


def test_published_vectors_are_reproduced_with_carried_states(published):
    folder, model, batches = published
    derived = numpy.load(folder / "derived_layers.npz")
    state = model.initial_state(len(batches[0]), "zeros")
    n_tokens = 0
    for number, sentences in enumerate(batches):
        lengths = [len(sentence) + 2 for sentence in sentences]
        with torch.no_grad():
            vectors = model.token_encoder(char_ids(sentences, 50))
            layers, state = model.encode_vectors(vectors, lengths, state)
        split = layers.split(lengths, dim=1)
        for row, (found, sentence) in enumerate(zip(split, sentences)):
            found = found[:, 1:-1].numpy()
            with h5py.File(folder / f"lm_embeddings_{row}.hdf5") as file:
                expected = numpy.concatenate(file[str(number)][...], axis=1)
            assert found.shape[1] == len(sentence) == len(expected)
            numpy.testing.assert_allclose(found[-1], expected, rtol=0, atol=1e-5)
            every = derived[f"b{number}_stateful_layers"][:, row, : len(sentence)]
            numpy.testing.assert_allclose(found, every, rtol=0, atol=1e-5)
            n_tokens += len(sentence)
    assert n_tokens > 700


def test_all_stateless_layers_are_reproduced(published):
    folder, model, batches = published
    derived = numpy.load(folder / "derived_layers.npz")
    for number, sentences in enumerate(batches):
        words = char_ids(sentences, model.config.max_chars)
        lengths = [len(sentence) + 2 for sentence in sentences]
        with torch.no_grad():
            layers = model.encode(
                words, torch.arange(len(words)), lengths, initial_state="zeros"
            ).numpy()
        mask = derived[f"b{number}_mask_with_bounds"].astype(bool)
        expected = derived[f"b{number}_stateless_layers_with_bounds"]
        numpy.testing.assert_allclose(layers, expected[:, mask], rtol=0, atol=1e-5)


def test_published_context_independent_vectors_are_reproduced(published):
    folder, model, _ = published
    path = folder / "elmo_token_embeddings.hdf5"
    if not path.exists():
        pytest.skip("this fixture has no token vectors")
    words = (folder / "vocab_test.txt").read_text(encoding="utf8").split("\n")
    words = [word for word in words if word]
    with h5py.File(path) as file:
        expected = file["embedding"][...]
    ids = torch.from_numpy(words_to_chars(words, model.config.max_chars))
    with torch.no_grad():
        found = model.token_encoder(ids).numpy()
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def distances(model, initial_state, folder, batches):
    """Mean absolute distance of each sentence's top layer from the published one."""
    result = []
    # The first batch was published from a state of zeros.
    for number, sentences in list(enumerate(batches))[1:]:
        lengths = [len(sentence) + 2 for sentence in sentences]
        words = char_ids(sentences, model.config.max_chars)
        with torch.no_grad():
            layers = model.encode(
                words, torch.arange(len(words)), lengths, initial_state=initial_state
            )
        for row, found in enumerate(layers[-1].split(lengths)):
            with h5py.File(folder / f"lm_embeddings_{row}.hdf5") as file:
                expected = numpy.concatenate(file[str(number)][...], axis=1)
            result.append(numpy.abs(found[1:-1].numpy() - expected).mean())
    return numpy.mean(result)


def test_the_warm_state_comes_much_nearer_to_carried_states_than_zeros(published):
    folder, model, batches = published
    indexer = ByteIndexer(model.config.max_chars)
    store_warm_state(model, indexer, neutral_sentences(spacy.blank("en")))
    warm, zeros = (distances(model, s, folder, batches) for s in ("warm", "zeros"))
    assert warm < zeros / 5
