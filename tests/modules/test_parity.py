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
import torch

from spacy_elmo_ulmfit.modules import BiLM, BiLMConfig
from spacy_elmo_ulmfit.modules.bilm import BiLMState
from spacy_elmo_ulmfit.modules.packing import PackedLayout, unpack
from spacy_elmo_ulmfit.text import words_to_chars

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
    return folder, load(folder), batches


def load(folder):
    options = json.loads((folder / "options.json").read_text())
    cnn, lstm = options["char_cnn"], options["lstm"]
    config = BiLMConfig(
        char_dim=cnn["embedding"]["dim"],
        filters=tuple((width, number) for width, number in cnn["filters"]),
        n_highway=cnn["n_highway"],
        activation=cnn["activation"],
        max_chars=cnn["max_characters_per_token"],
        cell_dim=lstm["dim"],
        projection_dim=lstm["projection_dim"],
        n_layers=lstm["n_layers"],
        cell_clip=lstm["cell_clip"],
        proj_clip=lstm["proj_clip"],
        residual=lstm["use_skip_connections"],
    )
    with h5py.File(folder / "lm_weights.hdf5") as file:
        state = read_weights(lambda name: torch.from_numpy(file[name][...]), config)
    model = BiLM(config).eval()
    state["warm_hidden"], state["warm_cell"] = model.warm_hidden, model.warm_cell
    model.load_state_dict(state)
    return model


def read_weights(get, config):
    characters = get("char_embed")
    row = torch.zeros(1, characters.shape[1])
    state = {"char_encoder.embedding.weight": torch.cat([row, characters])}
    prefix = "char_encoder"
    for i in range(len(config.filters)):
        weight = get(f"CNN/W_cnn_{i}")[0].permute(2, 1, 0)
        state[f"{prefix}.convolutions.{i}.weight"] = weight
        state[f"{prefix}.convolutions.{i}.bias"] = get(f"CNN/b_cnn_{i}")
    for k in range(config.n_highway):
        # What the file calls "carry" is the gate of the transformed part.
        for ours, theirs in (("gate", "carry"), ("transform", "transform")):
            weight = get(f"CNN_high_{k}/W_{theirs}").t()
            state[f"{prefix}.highways.{k}.{ours}.weight"] = weight
            state[f"{prefix}.highways.{k}.{ours}.bias"] = get(
                f"CNN_high_{k}/b_{theirs}"
            )
    state[f"{prefix}.projection.weight"] = get("CNN_proj/W_proj").t()
    state[f"{prefix}.projection.bias"] = get("CNN_proj/b_proj")
    for number, direction in enumerate(("forward", "backward")):
        for layer in range(config.n_layers):
            path = f"RNN_{number}/RNN/MultiRNNCell/Cell{layer}/LSTMCell"
            ours = f"{direction}_layers.{layer}"
            # From input, candidate, forget, output to torch's order.
            i, g, f, o = get(f"{path}/W_0").t().chunk(4)
            weight = torch.cat([i, f, g, o])
            i, g, f, o = get(f"{path}/B").chunk(4)
            width = config.projection_dim
            state[f"{ours}.weight_ih"] = weight[:, :width]
            state[f"{ours}.weight_hh"] = weight[:, width:]
            state[f"{ours}.bias"] = torch.cat([i, f + 1.0, g, o])
            state[f"{ours}.weight_hr"] = get(f"{path}/W_P_0").t()
    return state


def char_ids(sentences, max_chars):
    words = [w for sentence in sentences for w in ["<S>", *sentence, "</S>"]]
    return torch.from_numpy(words_to_chars(words, max_chars))


@torch.no_grad()
def read_batch(model, sentences, state):
    """Run one batch from the states of its rows; returns layers and new states."""
    lengths = [len(sentence) + 2 for sentence in sentences]
    tokens = model.char_encoder(char_ids(sentences, model.config.max_chars))
    layout = PackedLayout.from_lengths(lengths)
    order = torch.argsort(torch.tensor(lengths), descending=True, stable=True)
    restore = torch.argsort(order)
    halves, states = [], []
    for layers, index, start in (
        (model.forward_layers, layout.forward_index, state.forward),
        (model.backward_layers, layout.backward_index, state.backward),
    ):
        packed_state = [(hidden[order], cell[order]) for hidden, cell in start]
        outputs, last = model._run_direction(
            layers, tokens[index], layout.batch_sizes, packed_state
        )
        halves.append([tokens, *(unpack(output, index) for output in outputs)])
        states.append([(hidden[restore], cell[restore]) for hidden, cell in last])
    layers = torch.stack([torch.cat(pair, dim=1) for pair in zip(*halves)])
    return layers.split(lengths, dim=1), BiLMState(*states)


def test_published_vectors_are_reproduced_with_carried_states(published):
    folder, model, batches = published
    derived = numpy.load(folder / "derived_layers.npz")
    state = model.initial_state(len(batches[0]), "zeros")
    n_tokens = 0
    for number, sentences in enumerate(batches):
        layers, state = read_batch(model, sentences, state)
        for row, (found, sentence) in enumerate(zip(layers, sentences)):
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
        found = model.char_encoder(ids).numpy()
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
