import pytest
import torch

from spacy_elmo_ulmfit.modules.dropout import embedding_dropout, locked_dropout


def test_locked_dropout_drops_the_same_features_at_every_step():
    torch.manual_seed(0)
    output = locked_dropout(torch.ones(4, 6, 50), 0.4, True)
    assert torch.equal(output, output[:, :1].expand_as(output))
    assert not torch.equal(output[0], output[1])
    values = output.unique()
    torch.testing.assert_close(values, torch.tensor([0.0, 1 / 0.6]))


def test_embedding_dropout_drops_whole_words_wherever_they_stand():
    torch.manual_seed(0)
    weight = torch.rand(30, 4) + 1.0
    ids = torch.arange(30).repeat(2, 2)
    output = embedding_dropout(ids, weight, 0.5, True, 1)
    assert torch.equal(output[:, :30], output[:, 30:])
    assert torch.equal(output[0], output[1])
    dropped = (output[0, :30] == 0).all(dim=1)
    assert 0 < int(dropped.sum()) < 30
    torch.testing.assert_close(output[0, :30][~dropped], weight[~dropped] / 0.5)


@pytest.mark.parametrize("p, training", [(0.0, True), (0.7, False)])
def test_nothing_is_dropped_without_probability_or_training(p, training):
    inputs, ids = torch.rand(2, 3, 4), torch.arange(6).view(2, 3)
    weight = torch.rand(6, 4)
    assert torch.equal(locked_dropout(inputs, p, training), inputs)
    assert torch.equal(embedding_dropout(ids, weight, p, training, 1), weight[ids])


def test_padding_word_gets_no_gradient():
    weight = torch.rand(4, 2, requires_grad=True)
    ids = torch.tensor([[0, 1, 2]])
    embedding_dropout(ids, weight, 0.0, True, 1).sum().backward()
    assert weight.grad.sum(1).tolist() == [2.0, 0.0, 2.0, 0.0]
