import pytest
import torch

from spacy_elmo_ulmfit.modules import char_cnn
from spacy_elmo_ulmfit.modules.char_cnn import CharacterEncoder

from ..util import char_ids

WORDS = ["a", "of", "Zürich", "<S>", "internationally", "x" * 30, "of"]


def build(activation="relu", n_highway=2):
    torch.manual_seed(0)
    encoder = CharacterEncoder(
        char_dim=4,
        filters=[(1, 4), (3, 5), (5, 6)],
        n_highway=n_highway,
        activation=activation,
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return encoder


def reference(encoder, row):
    """One word over all its positions, from the formulas."""
    embedded = encoder.embedding.weight[row]
    pooled = []
    for convolution in encoder.convolutions:
        width = convolution.kernel_size[0]
        windows = [
            (convolution.weight * embedded[i : i + width].t()).sum((1, 2))
            for i in range(len(row) - width + 1)
        ]
        values = torch.stack(windows).amax(0) + convolution.bias
        pooled.append(encoder.activation(values))
    hidden = torch.cat(pooled)
    for highway in encoder.highways:
        gate = torch.sigmoid(highway.gate.weight @ hidden + highway.gate.bias)
        new = highway.transform.weight @ hidden + highway.transform.bias
        hidden = gate * new.clamp(min=0) + (1 - gate) * hidden
    return hidden


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("n_highway", [0, 2])
def test_vectors_are_those_of_the_formulas(activation, n_highway):
    encoder = build(activation, n_highway)
    ids = char_ids(WORDS, 30)
    expected = torch.stack([reference(encoder, row) for row in ids])
    torch.testing.assert_close(encoder(ids), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_prediction_computes_the_same(activation):
    encoder, ids = build(activation), char_ids(WORDS, 30)
    with torch.no_grad():
        found = encoder(ids)
    torch.testing.assert_close(found, encoder(ids), rtol=1e-5, atol=1e-6)


def test_prediction_sees_changed_filters():
    encoder, ids = build(), char_ids(WORDS, 30)
    with torch.no_grad():
        before = encoder(ids)
        for parameter in encoder.convolutions.parameters():
            parameter.mul_(2)
        found = encoder(ids)
    assert not torch.allclose(before, found)
    torch.testing.assert_close(found, encoder(ids), rtol=1e-5, atol=1e-5)


def test_a_word_does_not_depend_on_the_words_beside_it():
    encoder = build()
    together = encoder(char_ids(WORDS, 30))
    alone = torch.cat([encoder(char_ids([word], 30)) for word in WORDS])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


def test_more_padding_changes_nothing():
    encoder = build()
    words = WORDS[:5]
    torch.testing.assert_close(
        encoder(char_ids(words, 24)), encoder(char_ids(words, 50))
    )


@pytest.mark.parametrize("size", [1, 2, 3])
def test_chunks_change_neither_values_nor_order(size, monkeypatch):
    encoder = build()
    ids = char_ids(WORDS, 30)
    expected = encoder(ids)
    monkeypatch.setattr(char_cnn, "_CHUNK_WORDS", size)
    monkeypatch.setattr(char_cnn, "_PREDICT_WORDS", size)
    for with_grad in (True, False):
        with torch.set_grad_enabled(with_grad):
            found = encoder(ids)
        torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


def test_trimming_keeps_the_gradient():
    encoder = build()
    ids = char_ids(["a", "of"], 30)
    encoder(ids).sum().backward()
    found = {name: p.grad.clone() for name, p in encoder.named_parameters()}
    encoder.zero_grad()
    torch.stack([reference(encoder, row) for row in ids]).sum().backward()
    for name, parameter in encoder.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=1e-4, atol=1e-5)
