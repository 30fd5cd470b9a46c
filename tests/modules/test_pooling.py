import pytest
import torch

from spacy_elmo_ulmfit.modules.awd_lstm import activation_regularization
from spacy_elmo_ulmfit.modules.pooling import DocumentPenalty, DocumentPool
from spacy_elmo_ulmfit.modules.windows import read_windows

from ..util import NO_DROPOUT, flat, tiny_awd_lstm

DOCUMENTS = [[2, 9], [2, 3, 4, 5, 6, 7, 8, 9, 10], [2], [2, 4, 12, 11, 3]]


def test_pool_ignores_huge_and_infinite_values_behind_the_end():
    output = torch.zeros(2, 3, 1)
    output[0, :, 0] = torch.tensor([-1.0, -3.0, -2.0])
    output[1, :, 0] = torch.tensor([-4.0, 1e30, float("inf")])
    is_word = torch.tensor([[True, True, True], [True, False, False]])
    pool = DocumentPool(2)
    pool.add(torch.tensor([1, 0]), is_word, output)
    assert pool.pooled().tolist() == [[-4.0, -4.0, -4.0], [-2.0, -1.0, -2.0]]


def test_nothing_pooled_is_an_error():
    with pytest.raises(ValueError, match="No window"):
        DocumentPool(1).pooled()
    with pytest.raises(ValueError, match="No window"):
        DocumentPenalty(1, 2.0, 1.0).total()


def penalty_of(model, documents, alpha=2.0, beta=1.0, bptt=4, **settings):
    penalty = DocumentPenalty(len(documents), alpha, beta)
    for window in read_windows(model, *flat(documents), bptt, **settings):
        penalty.add(window)
    return penalty.total()


@pytest.mark.parametrize("alpha, beta", [(2.0, 0.0), (0.0, 1.0), (2.0, 1.0)])
@pytest.mark.parametrize("document", DOCUMENTS)
def test_penalty_of_a_document_is_ar_and_tar_of_its_words(document, alpha, beta):
    model = tiny_awd_lstm()
    raw = model(torch.tensor([document]))[1][-1]
    expected = activation_regularization(raw, raw, alpha, beta)
    torch.testing.assert_close(penalty_of(model, [document], alpha, beta), expected)


def test_ar_is_of_what_dropout_left_and_tar_of_what_was_there():
    settings = {**NO_DROPOUT, "output_dropout": 0.5}
    model = tiny_awd_lstm(**settings).train()
    torch.manual_seed(3)
    encoded = model.encode(torch.tensor([DOCUMENTS[1]]))
    raw, output = encoded.raw_outputs[-1], encoded.output
    torch.manual_seed(3)
    found = penalty_of(model, [DOCUMENTS[1]], bptt=100)
    expected = activation_regularization(output, raw, 2.0, 1.0)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("max_len", [0, 5])
def test_each_document_adds_the_same_in_any_batch(max_len):
    model = tiny_awd_lstm()
    alone = [penalty_of(model, [d], max_len=max_len) for d in DOCUMENTS]
    together = penalty_of(model, DOCUMENTS, max_len=max_len)
    torch.testing.assert_close(together, sum(alone) / len(alone))


def test_words_that_are_only_read_for_their_state_are_not_counted():
    model, document = tiny_awd_lstm(), DOCUMENTS[1]
    raw = model(torch.tensor([document]))[1][-1][:, 4:]
    found = penalty_of(model, [document], max_len=6)
    torch.testing.assert_close(found, activation_regularization(raw, raw, 2.0, 1.0))


def test_gradients_of_the_penalty_are_those_of_each_document_alone():
    model = tiny_awd_lstm(**NO_DROPOUT)
    alone = sum(penalty_of(model, [d]) for d in DOCUMENTS) / len(DOCUMENTS)
    learning = [p for name, p in model.named_parameters() if name != "decoder_bias"]
    expected = torch.autograd.grad(alone, learning)
    found = torch.autograd.grad(penalty_of(model, DOCUMENTS), learning)
    for one, other in zip(found, expected):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
