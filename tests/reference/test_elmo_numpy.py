"""The reference itself: against published vectors, and against torch's own layers."""

import json
import os
from dataclasses import replace
from pathlib import Path

import h5py
import numpy
import pytest
import torch
from numpy.testing import assert_allclose

from .elmo_numpy import (
    byte_characters,
    clip,
    read_allennlp,
    read_bilm_tf,
    read_dic,
    read_many_langs,
)
from .files import (
    ALLENNLP_PREFIX,
    DOCUMENTS,
    MANY_LANGS_CONFIG,
    Sizes,
    allennlp_entries,
    write_bilm_files,
    write_folder,
    write_many_langs,
    write_word_input,
)

DATA = os.environ.get("SEU_DATA")
SETS = {
    "allennlp": ("allennlp", "sentences.json"),
    "bilm-tf": ("bilm-tf/model", "lm_embeddings_sentences.json"),
}
# Long enough for cells to grow, and no boundary of a filter or a word is left out.
SENTENCE = "the river near Rome is wide and the sea is not far from it .".split()


@pytest.fixture(scope="module", params=sorted(SETS))
def published(request):
    """Return folder, reference, and the published batches of sentences."""
    if not DATA:
        pytest.skip("SEU_DATA is not set: no published fixtures")
    name, sentences = SETS[request.param]
    folder = Path(DATA) / "fixtures" / "elmo" / name
    if not folder.exists():
        pytest.skip(f"SEU_DATA holds no {name} fixture")
    rows = json.loads((folder / sentences).read_text("utf-8"))
    # Sentence i of each list is one row of batch i.
    batches = [[sentence.split() for sentence in batch] for batch in zip(*rows)]
    reference = read_bilm_tf(folder / "options.json", folder / "lm_weights.hdf5")
    return folder, reference, batches


def test_published_vectors_with_carried_states(published):
    folder, reference, batches = published
    derived = numpy.load(folder / "derived_layers.npz")
    assert len(batches) == 10
    for number, rows in enumerate(reference.carried(batches)):
        for row, found in enumerate(rows):
            with h5py.File(folder / f"lm_embeddings_{row}.hdf5") as file:
                top = numpy.concatenate(file[str(number)][...], axis=1)
            assert_allclose(found[-1], top, rtol=0, atol=1e-5)
            every = derived[f"b{number}_stateful_layers"][:, row, : found.shape[1]]
            assert_allclose(found, every, rtol=0, atol=1e-5)


def test_published_layers_from_zeros_with_boundaries(published):
    folder, reference, batches = published
    derived = numpy.load(folder / "derived_layers.npz")
    for number, batch in enumerate(batches):
        for row, words in enumerate(batch):
            found = reference.read(words)[0]
            every = derived[f"b{number}_stateless_layers_with_bounds"]
            expected = every[:, row, : len(words) + 2]
            assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_published_token_vectors(published):
    folder, reference, _ = published
    path = folder / "elmo_token_embeddings.hdf5"
    if not path.exists():
        pytest.skip("this fixture has no token vectors")
    words = (folder / "vocab_test.txt").read_text("utf-8").split()
    with h5py.File(path) as file:
        expected = file["embedding"][...]
    found = numpy.stack([reference.token(word) for word in words])
    assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_spelling_is_as_published():
    """AllenNLP's own examples, which number from 1."""
    published = [259, 257, 260, *[261] * 47]
    assert [i + 1 for i in byte_characters("<S>", 50)] == published
    published = [259, 197, 129, 117, 260, *[261] * 45]
    assert [i + 1 for i in byte_characters(chr(256) + "t", 50)] == published
    # A cut may part the bytes of one character.
    assert byte_characters("aéé", 6) == [258, 97, 195, 169, 195, 259]


def write(folder, **changes):
    files = write_bilm_files(folder, replace(Sizes(), **changes))
    return read_bilm_tf(files.options, files.weights)


SWITCHES = [
    {"cell_clip": None},
    {"proj_clip": None},
    {"residual": False},
    {"activation": "tanh"},
    {"n_highway": 0},
    {"n_highway": 2},
    {"max_chars": 8},
]


@pytest.mark.parametrize("switch", SWITCHES, ids=str)
def test_every_switch_shows_in_the_vectors_of_the_random_weights(switch, tmp_path):
    """Else a test against these files would miss an importer that ignores one."""
    plain = write(tmp_path / "plain").layers(SENTENCE)
    other = write(tmp_path / "other", **switch).layers(SENTENCE)
    assert abs(plain - other).max() > 1e-2


def test_no_bound_can_be_written_as_null_or_zero(tmp_path):
    null = write(tmp_path / "null", cell_clip=None, proj_clip=None)
    zero = write(tmp_path / "zero", cell_clip=0, proj_clip=0)
    assert (null.layers(SENTENCE) == zero.layers(SENTENCE)).all()


def test_layers_that_the_sizes_make_needless_are_absent(tmp_path):
    """No projections where they would not change a width; then no output bound."""
    filters = ((1, 2), (2, 3))
    for seed, bound in enumerate((0.1, None)):
        sizes = Sizes(filters=filters, dim=5, projection_dim=5, proj_clip=bound)
        files = write_bilm_files(tmp_path / str(seed), sizes)
        with h5py.File(files.weights) as file:
            assert "CNN_proj" not in file
            assert "W_P_0" not in file["RNN_0/RNN/MultiRNNCell/Cell0/LSTMCell"]
        layers = read_bilm_tf(files.options, files.weights).layers(SENTENCE)
        assert abs(layers[1]).max() > 0.1


def test_one_layer_files_lie_flat(tmp_path):
    sizes = Sizes(n_layers=1, single_cell=True)
    files = write_bilm_files(tmp_path, sizes)
    assert "n_layers" not in json.loads(files.options.read_text())["lstm"]
    found = read_bilm_tf(files.options, files.weights).layers(SENTENCE)
    assert found.shape == (2, len(SENTENCE), 10)


def test_unknown_words_of_a_word_model_share_a_vector(tmp_path):
    files = write_word_input(tmp_path, ["the", "sea"])
    reference = read_bilm_tf(files.options, files.weights, files.vocab)
    unknown = reference.token("<UNK>")
    assert (reference.token("xyzzy") == unknown).all()
    assert (reference.token("Sea") == unknown).all()
    assert (reference.token("sea") != unknown).any()


def test_lstm_equals_torchs(tmp_path):
    reference = write(tmp_path, cell_clip=None, proj_clip=None)
    layer = reference.forward_layers[0]
    module = torch.nn.LSTM(5, 7, proj_size=5).double()
    gates = ("input", "forget", "candidate", "output")
    weights = [torch.tensor(layer.weights[gate].T) for gate in gates]
    module.load_state_dict(
        {
            "weight_ih_l0": torch.cat([weight[:, :5] for weight in weights]),
            "weight_hh_l0": torch.cat([weight[:, 5:] for weight in weights]),
            "weight_hr_l0": torch.tensor(layer.projection.T),
            "bias_ih_l0": torch.cat([torch.tensor(layer.biases[g]) for g in gates]),
            "bias_hh_l0": torch.zeros(28).double(),
        }
    )
    inputs = numpy.stack([reference.token(word) for word in SENTENCE])
    output, cell = numpy.full(5, 0.3), numpy.full(7, -0.2)
    state = (torch.tensor(output)[None], torch.tensor(cell)[None])
    expected, (last_output, last_cell) = module(torch.tensor(inputs), state)
    found, last = layer.read(inputs, (output, cell))
    assert_allclose(found, expected.detach(), atol=1e-12)
    assert_allclose(last[0], last_output[0].detach(), atol=1e-12)
    assert_allclose(last[1], last_cell[0].detach(), atol=1e-12)


def test_bounds_hold_and_bite(tmp_path):
    assert clip(numpy.array([-4.0, 1.0, 4.0]), 3).tolist() == [-3.0, 1.0, 3.0]
    layer = write(tmp_path).forward_layers[0]
    rng = numpy.random.default_rng(0)
    states = [layer.zeros()]
    for x in rng.normal(size=(50, 5)):
        states.append(layer.step(x, states[-1]))
    for values in zip(*states):
        assert abs(numpy.stack(values)).max() == 3.0


def test_an_allennlp_model_equals_its_hdf5(tmp_path):
    sizes = Sizes(n_highway=2)
    files = write_bilm_files(tmp_path / "hdf5", sizes, seed=3)
    folder = write_folder(tmp_path / "archive", allennlp_entries(sizes, seed=3))
    archived = read_allennlp(
        folder / "options.json",
        folder / "weights.th",
        prefix=f"{ALLENNLP_PREFIX}_elmo_lstm.",
    )
    hdf5 = read_bilm_tf(files.options, files.weights)
    for words in DOCUMENTS:
        assert_allclose(archived.layers(words), hdf5.layers(words), atol=2e-6)


@pytest.mark.parametrize("word_dim", [0, 4])
def test_token_vectors_of_many_langs_equal_torchs(word_dim, tmp_path):
    """Its network, as torch's layers compute it, for a word of every kind."""
    sizes = Sizes(max_chars=8, activation="tanh", n_highway=2)
    write_many_langs(tmp_path, sizes, word_dim=word_dim)
    reference = read_many_langs(tmp_path, tmp_path / MANY_LANGS_CONFIG)
    state = torch.load(tmp_path / "token_embedder.pkl", weights_only=True)
    pad, begin, end, oov = 3, 5, 4, 2
    chars = {
        "<bos>": [begin, 0, end, *[pad] * 5],
        "tea": [begin, 8, 7, 9, end, *[pad] * 3],
        "Rome": [begin, 36, 10, 20, 7, end, pad, pad],
        "日本": [begin, 39, oov, end, *[pad] * 4],
        "t" * 9: [begin, *[8] * 6, end],
        "\u3000": [begin, 41, end, *[pad] * 5],
        " ": [begin, oov, end, *[pad] * 5],
    }
    words = {"<bos>": 1, "Rome": 5, "日本": 6, "\u3000": 7}
    for word, ids in chars.items():
        x = state["char_emb_layer.embedding.weight"][ids].t()[None]
        filters = [
            torch.conv1d(
                x, state[f"convolutions.{i}.weight"], state[f"convolutions.{i}.bias"]
            )
            for i in range(3)
        ]
        vector = torch.cat([part.max(dim=2).values.tanh()[0] for part in filters])
        for k in range(2):
            weight, bias = (
                state[f"highways._layers.{k}.{n}"] for n in ("weight", "bias")
            )
            other, gate = (weight @ vector + bias).chunk(2)
            gate = gate.sigmoid()
            vector = gate * vector + (1 - gate) * other.relu()
        if word_dim:
            row = state["word_emb_layer.embedding.weight"][words.get(word, 0)]
            vector = torch.cat([row, vector])
        expected = state["projection.weight"] @ vector + state["projection.bias"]
        assert_allclose(reference.token(word), expected, atol=1e-5, err_msg=word)


def test_dictionaries_of_many_langs_lose_their_white_space(tmp_path):
    path = tmp_path / "char.dic"
    path.write_bytes("a\t0\n\u3000\t1\né\t2\n \t3\n".encode())
    assert read_dic(path) == {"a": 0, "\u3000": 3, "é": 2}


def test_rows_of_carried_batches_are_independent(tmp_path):
    reference = write(tmp_path)
    first, second, third = SENTENCE[:5], SENTENCE[5:9], SENTENCE[9:]
    found = reference.carried([[first], [second, third], [third], [first, first]])
    _, state = reference.read(first)
    again, state = reference.read(second, state)
    assert_allclose(found[1][0], again[:, 1:-1])
    assert_allclose(found[1][1], reference.layers(third))
    _, other = reference.read(third)
    assert_allclose(found[3][1], reference.read(first, other)[0][:, 1:-1])
