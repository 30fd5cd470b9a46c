import pytest
import torch

from spacy_elmo_ulmfit.modules.classifier import (
    DocumentPool,
    build_classifier,
    classifier_settings,
)

from ..util import NO_DROPOUT, padded, tiny_classifier

DOCUMENTS = [[2, 9], [2, 3, 4, 5, 6, 7, 8, 9, 10], [2], [2, 4, 12, 11, 3]]


def pooled_alone(model, document):
    """Concat pooling of one document read in one piece, from the formulas."""
    output = model.encoder.encode(torch.tensor([document])).output[0]
    return torch.cat([output[-1], output.amax(0), output.sum(0) / len(output)])


def head(model, pooled):
    """The head in prediction: batch norm with running statistics, linear, ReLU."""
    hidden = pooled
    for number, (norm, linear) in enumerate(zip(model.head.norms, model.head.linears)):
        scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
        hidden = linear((hidden - norm.running_mean) * scale + norm.bias)
        hidden = hidden if number else hidden.clamp(min=0)
    return hidden


@pytest.mark.parametrize("bptt", [1, 2, 4, 5, 100])
def test_logits_are_those_of_each_document_alone_whatever_the_window(bptt):
    model = tiny_classifier(bptt=bptt)
    found = model(*padded(DOCUMENTS))
    for logits, document in zip(found, DOCUMENTS):
        expected = head(model, pooled_alone(model, document))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        alone = model(torch.tensor([document]), [len(document)])[0]
        torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("padding", [0, 1, 12])
def test_padding_is_never_pooled(padding):
    model = tiny_classifier()
    ids, lengths = padded(DOCUMENTS, padding)
    expected = model(*padded(DOCUMENTS))
    torch.testing.assert_close(model(ids, lengths), expected)


def test_pool_ignores_huge_and_infinite_values_behind_the_end():
    pool = DocumentPool(2)
    window = torch.zeros(2, 3, 1)
    window[0, :, 0] = torch.tensor([-1.0, -3.0, -2.0])
    window[1, :, 0] = torch.tensor([-4.0, 1e30, float("inf")])
    pool.add(window, torch.tensor([3, 1]))
    found = pool.pooled(torch.tensor([3, 1]))
    assert found.tolist() == [[-2.0, -1.0, -2.0], [-4.0, -4.0, -4.0]]


def test_nothing_pooled_is_an_error():
    with pytest.raises(ValueError, match="No window"):
        DocumentPool(1).pooled(torch.tensor([1]))


def embedding_gradient(model, documents, row):
    """Which words of the vocabulary one document's logits give a gradient."""
    model.zero_grad()
    torch.manual_seed(0)
    model(*padded(documents))[row].sum().backward()
    gradient = model.encoder.embedding.weight.grad
    return gradient.clone()


@pytest.mark.parametrize(
    "max_len, learning",
    [
        (1, [10, 11]),
        (2, [10, 11]),
        (3, [6, 7, 8, 9, 10, 11]),
        (6, [6, 7, 8, 9, 10, 11]),
        (7, list(range(2, 12))),
        (100, list(range(2, 12))),
    ],
)
def test_only_windows_that_reach_into_the_last_words_get_a_gradient(max_len, learning):
    # Ten words in windows of four: [2..5], [6..9], [10, 11].
    model = tiny_classifier(encoder=NO_DROPOUT, max_len=max_len, bptt=4)
    gradient = embedding_gradient(model, [list(range(2, 12))], 0)
    moved = gradient.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == learning


def test_neighbours_do_not_change_which_windows_learn():
    model = tiny_classifier(encoder=NO_DROPOUT, max_len=2, bptt=4)
    short, long = list(range(2, 9)), [2] * 15
    alone = embedding_gradient(model, [short], 0)
    beside = embedding_gradient(model, [long, short], 1)
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-7)


def test_max_len_changes_no_logits():
    outputs = [tiny_classifier(max_len=n)(*padded(DOCUMENTS)) for n in (1, 100)]
    assert torch.equal(*outputs)


def test_a_training_batch_of_one_document_works_and_leaves_the_statistics():
    model = tiny_classifier(encoder=NO_DROPOUT, head_dropout=0.0, hidden_dropout=0.0)
    expected = model(torch.tensor([DOCUMENTS[1]]), [9])
    before = {name: value.clone() for name, value in model.named_buffers()}
    found = model.train()(torch.tensor([DOCUMENTS[1]]), [9])
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(
        torch.equal(value, before[name]) for name, value in model.named_buffers()
    )
    assert all(p.grad is not None for p in model.parameters())


def test_running_statistics_are_those_of_the_first_batch_after_it():
    model = tiny_classifier(encoder=NO_DROPOUT).train()
    model(*padded(DOCUMENTS))
    pooled = torch.stack([pooled_alone(model, document) for document in DOCUMENTS])
    norm = model.head.norms[0]
    torch.testing.assert_close(norm.running_mean, pooled.mean(0))
    torch.testing.assert_close(norm.running_var, pooled.var(0))


def test_dropout_acts_in_training_only():
    model = tiny_classifier()
    batch = padded(DOCUMENTS)
    assert torch.equal(model(*batch), model(*batch))
    model.train()
    assert not torch.equal(model(*batch), model(*batch))


def test_layer_groups_hold_every_weight_once_with_the_head_on_top():
    model = tiny_classifier()
    for name, _ in model.named_parameters():
        assert sum(name.startswith(group) for group in model.layer_groups) == 1
    assert model.layer_groups[-1] == ("head.",)


def test_settings_build_the_same_classifier_again():
    model = tiny_classifier(head_dropout=0.3, max_len=7)
    other = build_classifier(classifier_settings(model))
    assert (other.config, other.encoder.config) == (model.config, model.encoder.config)
    other.load_state_dict(model.state_dict())
