from functools import partial

import pytest
import torch

from spacy_elmo_ulmfit.modules import windows
from spacy_elmo_ulmfit.modules.cuts import MAX_PADDING, MAX_WORDS, cut_for_speed
from spacy_elmo_ulmfit.modules.windows import read_documents, read_windows

from ..util import NO_DROPOUT, flat, tiny_awd_lstm

DOCUMENTS = [[2, 9, 10, 4], [2, 3, 4, 5, 6, 7, 8], [2], [2, 9, 10, 5]]
RNNS = ["lstm", "qrnn"]


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize("bptt", [1, 3, 4, 50])
def test_reading_in_windows_is_embedding_and_top_layer_of_one_pass(bptt, rnn):
    model = tiny_awd_lstm(rnn=rnn)
    ids, lengths = flat(DOCUMENTS)
    both = read_documents(model, ids, lengths, bptt)
    assert both.shape == (2, len(ids), 5)
    for found, document in zip(both.split(lengths, dim=1), DOCUMENTS):
        alone = torch.tensor([document])
        torch.testing.assert_close(found[0], model.embedding.weight[alone[0]])
        torch.testing.assert_close(found[1], model(alone)[1][-1][0])


def test_gradients_do_not_pass_the_edges_of_a_window():
    model = tiny_awd_lstm(**NO_DROPOUT).train()
    both = read_documents(model, torch.tensor([2, 3, 4, 5]), [4], 2)
    both[1, 2:].sum().backward()
    moved = model.embedding.weight.grad.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == [4, 5]


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize(
    "gradient_windows, max_len, learning",
    [
        (1, 0, [8, 9]),
        (2, 0, [6, 7, 8, 9]),
        # The fourth window begins a block of its own.
        (3, 0, [8, 9]),
        (4, 0, [2, 3, 4, 5, 6, 7, 8, 9]),
        # What is only read for its state learns nothing, in a row of its own or not.
        (4, 4, [6, 7, 8, 9]),
    ],
)
@pytest.mark.parametrize("neighbours", [[], [[10, 11, 10]]])
def test_state_is_detached_at_every_so_many_windows(
    gradient_windows, max_len, learning, neighbours, rnn
):
    model = tiny_awd_lstm(rnn=rnn, **NO_DROPOUT).train()
    document = list(range(2, 10))
    settings = {"max_len": max_len, "gradient_windows": gradient_windows}
    *_, last = read_windows(model, *flat([document, *neighbours]), 2, **settings)
    last.output[0].sum().backward()
    moved = model.embedding.weight.grad.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == learning


def test_windows_name_their_documents_and_their_words():
    ids, lengths = flat(DOCUMENTS)
    seen = [[] for _ in DOCUMENTS]
    for window in read_windows(tiny_awd_lstm(), ids, lengths, 3):
        for row, places, is_word in zip(window.rows, window.places, window.is_word):
            seen[row] += ids[places[is_word]].tolist()
    assert seen == DOCUMENTS


def words_per_call(model, monkeypatch):
    """One document of 5,000 words beside 63 of up to ten."""
    n_words, encode = [], model.encode

    def spy(words, state):
        n_words.append(words.numel())
        return encode(words, state)

    monkeypatch.setattr(model, "encode", spy)
    ids, lengths = flat([[2] * n for n in [5000, *range(1, 11), *[5] * 53]])
    n_windows = sum(1 for _ in read_windows(model, ids, lengths, 50, max_len=500))
    return n_words, n_windows


def test_memory_is_that_of_a_window_whatever_the_documents(monkeypatch):
    model = tiny_awd_lstm(n_layers=1)
    n_words, n_windows = words_per_call(model, monkeypatch)
    assert n_windows == 11
    assert n_words == [64 * 50] + [50] * 99


def test_prediction_takes_few_steps_and_no_more_memory(monkeypatch):
    model = tiny_awd_lstm(n_layers=1)
    with torch.no_grad():
        n_words, n_windows = words_per_call(model, monkeypatch)
    # Short documents in two windows; of the long one its last 500 words in one.
    assert n_windows == 3 and n_words[-1] == 500
    assert max(n_words) <= MAX_WORDS
    assert sum(n_words) <= 5000 + 55 + 53 * 5 + MAX_PADDING


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize("max_len", [0, 5, 9])
@pytest.mark.parametrize("max_words, max_padding", [(1, 0), (6, 2), (40, 0), (40, 9)])
def test_prediction_pools_the_same_words_wherever_documents_are_cut(
    monkeypatch, rnn, max_len, max_words, max_padding
):
    cut = partial(cut_for_speed, max_words=max_words, max_padding=max_padding)
    monkeypatch.setattr(windows, "cut_for_speed", cut)
    generator = torch.Generator().manual_seed(0)
    documents = [
        torch.randint(2, 13, (n,), generator=generator).tolist()
        for n in (1, 23, 4, 9, 9, 10, 3, 17)
    ]
    model = tiny_awd_lstm(rnn=rnn)

    def read():
        found = {}
        for window in read_windows(model, *flat(documents), 4, max_len=max_len):
            for places, is_word, output in zip(
                window.places, window.is_word, window.output
            ):
                found.update(zip(places[is_word].tolist(), output[is_word]))
        return found

    expected = read()
    with torch.no_grad():
        found = read()
    assert found.keys() == expected.keys()
    for place, output in expected.items():
        torch.testing.assert_close(found[place], output, rtol=0, atol=1e-6)


def test_windows_that_are_only_read_for_their_state_build_no_graph(monkeypatch):
    model, with_graph = tiny_awd_lstm(), []
    encode = model.encode

    def spy(words, state):
        with_graph.append(torch.is_grad_enabled())
        return encode(words, state)

    monkeypatch.setattr(model, "encode", spy)
    ids, lengths = flat([[2] * 10, [2] * 9])
    found = list(read_windows(model, ids, lengths, 2, max_len=5))
    assert with_graph == [False, False, True, True, True]
    assert [window.rows.tolist() for window in found] == [[1], [0, 1], [0, 1]]
