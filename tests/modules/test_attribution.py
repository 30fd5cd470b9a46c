import pytest
import torch
from torch.nn import functional as F

from spacy_elmo_ulmfit.modules.attribution import (
    input_gradients,
    intrinsic_attention,
    label_probabilities,
    occlusion,
)

from ..util import tiny_classifier

# Two of them are the padding word, as text may hold it.
DOCUMENT = [2, 3, 1, 5, 6, 7, 1, 8, 9, 10, 4]
LABEL, UNKNOWN = 1, 0


def in_one_piece(model, multi_label):
    """Embeddings and the gradient of a label's probability, without windows."""
    embedded = F.embedding(torch.tensor(DOCUMENT), model.encoder.embedding.weight)
    embedded = embedded.detach().requires_grad_()
    hidden = embedded[None]
    for layer in model.encoder.layers:
        hidden, _ = torch.nn.LSTM.forward(layer, hidden)
    output = hidden[0]
    pooled = torch.cat([output[-1], output.amax(0), output.mean(0)])
    logits = model.head(pooled[None])[0]
    scores = logits.sigmoid() if multi_label else logits.softmax(0)
    (gradient,) = torch.autograd.grad(scores[LABEL], embedded)
    return embedded.detach(), gradient


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("bptt", [1, 4, 5, 100])
def test_gradients_reach_the_first_word_through_every_window(bptt, multi_label):
    model = tiny_classifier(bptt=bptt)
    embedded, gradient = in_one_piece(model, multi_label)
    arguments = (model, torch.tensor(DOCUMENT), LABEL)
    attention = intrinsic_attention(*arguments, multi_label=multi_label)
    assert attention.min() > 0
    torch.testing.assert_close(attention, gradient.abs().sum(1), rtol=1e-4, atol=1e-8)
    signed = input_gradients(*arguments, multi_label=multi_label)
    expected = (embedded * gradient).sum(1)
    torch.testing.assert_close(signed, expected, rtol=1e-4, atol=1e-8)


def test_words_that_are_only_read_for_their_state_matter_through_it():
    # Windows of four: the last three words are pooled, the others lead up to them.
    model, ids = tiny_classifier(bptt=4, max_len=3), torch.tensor(DOCUMENT)
    embedded = F.embedding(ids, model.encoder.embedding.weight)
    embedded = embedded.detach().requires_grad_()
    hidden = embedded[None]
    for layer in model.encoder.layers:
        hidden, _ = torch.nn.LSTM.forward(layer, hidden)
    output = hidden[0, 8:]
    pooled = torch.cat([output[-1], output.amax(0), output.mean(0)])
    score = model.head(pooled[None])[0].softmax(0)[LABEL]
    (gradient,) = torch.autograd.grad(score, embedded)
    found = intrinsic_attention(model, ids, LABEL, multi_label=False)
    torch.testing.assert_close(found, gradient.abs().sum(1), rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("bptt", [1, 4])
def test_windows_change_nothing_with_qrnn_layers_either(bptt):
    models = [tiny_classifier(encoder={"rnn": "qrnn"}, bptt=n) for n in (bptt, 100)]
    cut, whole = (
        input_gradients(model, torch.tensor(DOCUMENT), LABEL, multi_label=False)
        for model in models
    )
    assert whole.abs().min() > 0
    torch.testing.assert_close(cut, whole, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("max_len", [3, 6, 100])
@pytest.mark.parametrize("position", [1, 4, 8])
def test_input_gradients_are_the_slope_of_what_the_model_itself_computes(
    max_len, position
):
    model, step = tiny_classifier(bptt=4, max_len=max_len).double(), 1e-6
    ids, weight = torch.tensor(DOCUMENT), model.encoder.embedding.weight

    @torch.no_grad()
    def probability(factor):
        row = weight[ids[position]].clone()
        weight[ids[position]] *= factor
        found = model(ids, [len(ids)])[0].softmax(0)[LABEL]
        weight[ids[position]] = row
        return found

    slope = (probability(1 + step) - probability(1 - step)) / (2 * step)
    signed = input_gradients(model, ids, LABEL, multi_label=False)
    torch.testing.assert_close(signed[position], slope, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("method", [intrinsic_attention, input_gradients])
def test_gradients_leave_a_model_as_it_is(method):
    model = tiny_classifier()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    method(model, torch.tensor(DOCUMENT), LABEL, multi_label=False)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_frozen_model_is_explained_like_any_other():
    arguments = (torch.tensor(DOCUMENT), LABEL)
    expected = intrinsic_attention(tiny_classifier(), *arguments, multi_label=False)
    frozen = tiny_classifier().requires_grad_(False)
    with torch.no_grad():
        found = intrinsic_attention(frozen, *arguments, multi_label=False)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("multi_label", [True, False])
@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_occlusion_is_what_the_probability_loses_without_the_words(
    batch_size, multi_label
):
    model = tiny_classifier()
    groups = [[0], [3, 4], [10]]

    def probability(ids):
        logits = model(torch.tensor(ids), [len(ids)])
        return label_probabilities(logits, multi_label)[0, LABEL].detach()

    expected = []
    for group in groups:
        changed = [UNKNOWN if i in group else n for i, n in enumerate(DOCUMENT)]
        expected.append(probability(DOCUMENT) - probability(changed))
    found = occlusion(
        model,
        torch.tensor(DOCUMENT),
        LABEL,
        groups,
        unknown_id=UNKNOWN,
        multi_label=multi_label,
        batch_size=batch_size,
    )
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-7)


def test_without_words_to_hide_nothing_is_lost():
    found = occlusion(
        tiny_classifier(),
        torch.tensor([2]),
        LABEL,
        [],
        unknown_id=UNKNOWN,
        multi_label=False,
    )
    assert found.shape == (0,)


@pytest.mark.parametrize("multi_label", [True, False])
def test_a_decision_that_single_precision_calls_certain_has_reasons_too(multi_label):
    model = tiny_classifier()
    with torch.no_grad():
        model.head.linears[-1].bias[LABEL] += 20.0
    ids = torch.tensor(DOCUMENT)
    logits = model(ids, [len(ids)])
    scores = logits.sigmoid() if multi_label else logits.softmax(1)
    assert scores[0, LABEL] == 1.0
    for method in (intrinsic_attention, input_gradients):
        found = method(model, ids, LABEL, multi_label=multi_label)
        assert found.abs().min() > 0
