"""Training on several threads can be repeated to the bit.

A sum in another order differs in its last bits. Where gradients are compared here, there
are enough rows for several threads to share them, and every row is read several times.
"""

import torch

from spacy_elmo_ulmfit.modules.lookup import look_up
from spacy_elmo_ulmfit.modules.sampled_softmax import sample_words, sampled_softmax_loss

from ..util import char_ids, tiny_bilm

N_TIMES = 10


def are_equal(gradients):
    return all(torch.equal(gradients[0], gradient) for gradient in gradients[1:])


def test_rows_and_gradients_are_those_of_indexing():
    torch.manual_seed(0)
    table = torch.randn(5, 3, requires_grad=True)
    index, d_rows = torch.tensor([4, 0, 4, 1]), torch.randn(4, 3)
    rows = look_up(table, index)
    assert torch.equal(rows, table[index])
    (found,) = torch.autograd.grad(rows, table, d_rows)
    (wanted,) = torch.autograd.grad(table[index], table, d_rows)
    torch.testing.assert_close(found, wanted)


def test_gradients_of_words_are_the_same_on_every_call(two_threads):
    words = [f"word{i}" for i in range(40)]
    model = tiny_bilm(projection_dim=64).train()
    torch.manual_seed(0)
    index = torch.randint(len(words), (2, 16, 64))
    ids = char_ids(words)
    weight = model.token_encoder.projection.weight

    def gradient():
        torch.manual_seed(1)
        outputs, _ = model.stream(ids, index, model.initial_state(16, "zeros"))
        return torch.autograd.grad(outputs.pow(2).sum(), weight)[0]

    assert are_equal([gradient() for _ in range(N_TIMES)])


def test_gradients_of_a_sampled_softmax_are_the_same_on_every_call(two_threads):
    torch.manual_seed(0)
    hidden, targets = torch.randn(4000, 64), torch.randint(100, (4000,))
    weight = torch.randn(1000, 64, requires_grad=True)
    bias = torch.randn(1000, requires_grad=True)
    sample = sample_words(200, 1000)

    def gradients():
        loss = sampled_softmax_loss(hidden, targets, weight, bias, sample)
        return torch.autograd.grad(loss, (weight, bias))

    d_weights, d_biases = zip(*(gradients() for _ in range(N_TIMES)))
    assert are_equal(d_weights)
    assert are_equal(d_biases)
