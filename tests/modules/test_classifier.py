import pytest
import torch

from spacy_elmo_ulmfit.modules.classifier import build_classifier, classifier_settings
from spacy_elmo_ulmfit.modules.pooling import DocumentPenalty
from spacy_elmo_ulmfit.modules.windows import read_windows

from ..util import NO_DROPOUT, flat, tiny_classifier

DOCUMENTS = [[2, 9], [2, 3, 4, 5, 6, 7, 8, 9, 10], [2], [2, 4, 12, 11, 3]]


def pooled_alone(model, document, n_last=0):
    """Concat pooling of one document read in one piece, from the formulas."""
    output = model.encoder.encode(torch.tensor([document])).output[0][-n_last:]
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
    found = model(*flat(DOCUMENTS))
    for logits, document in zip(found, DOCUMENTS):
        expected = head(model, pooled_alone(model, document))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)
        alone = model(*flat([document]))[0]
        torch.testing.assert_close(logits, alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("max_len", [1, 3, 4, 5, 6, 9, 0])
def test_only_windows_that_start_in_the_last_words_are_pooled(max_len):
    # Windows of four: what is left of each document when they start.
    starts_left = {2: [2], 9: [9, 5, 1], 1: [1], 5: [5, 1]}
    model = tiny_classifier(max_len=max_len)
    found = model(*flat(DOCUMENTS))
    for logits, document in zip(found, DOCUMENTS):
        left = starts_left[len(document)]
        n_pooled = max([n for n in left if n <= max_len], default=left[-1])
        if not max_len:
            n_pooled = len(document)
        expected = head(model, pooled_alone(model, document, n_pooled))
        torch.testing.assert_close(logits, expected, rtol=1e-4, atol=1e-5)


def test_lengths_that_do_not_add_up_are_refused():
    model, (ids, lengths) = tiny_classifier(), flat(DOCUMENTS)
    for wrong in ([*lengths, 0], lengths[:-1], []):
        with pytest.raises(ValueError, match=rf"add up to {sum(wrong)} .* \(17,\)"):
            model(ids, wrong)
    with pytest.raises(ValueError, match=r"the ids have the shape \(1, 17\)"):
        model(ids.unsqueeze(0), lengths)


def embedding_gradient(model, documents, row):
    """Which words of the vocabulary one document's logits give a gradient."""
    model.zero_grad()
    torch.manual_seed(0)
    model(*flat(documents))[row].sum().backward()
    gradient = model.encoder.embedding.weight.grad
    return gradient.clone()


@pytest.mark.parametrize(
    "max_len, learning",
    [
        (1, [10, 11]),
        (2, [10, 11]),
        (5, [10, 11]),
        (6, [6, 7, 8, 9, 10, 11]),
        (9, [6, 7, 8, 9, 10, 11]),
        (10, list(range(2, 12))),
        (100, list(range(2, 12))),
        (0, list(range(2, 12))),
    ],
)
def test_only_windows_that_start_in_the_last_words_get_a_gradient(max_len, learning):
    # Ten words in windows of four: [2..5], [6..9], [10, 11].
    model = tiny_classifier(encoder=NO_DROPOUT, max_len=max_len, bptt=4)
    gradient = embedding_gradient(model, [list(range(2, 12))], 0)
    moved = gradient.abs().sum(1) > 0
    assert moved.nonzero().flatten().tolist() == learning


@pytest.mark.parametrize("gradient_windows", [1, 2, 3])
def test_neighbours_do_not_change_which_windows_learn(gradient_windows):
    settings = {"max_len": 6, "bptt": 4, "gradient_windows": gradient_windows}
    model = tiny_classifier(encoder=NO_DROPOUT, **settings)
    short, long = list(range(2, 9)), [2] * 15
    alone = embedding_gradient(model, [short], 0)
    beside = embedding_gradient(model, [long, short], 1)
    torch.testing.assert_close(alone, beside, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("rnn", ["lstm", "qrnn"])
def test_gradients_through_all_windows_are_those_of_one_long_window(rnn):
    encoder, gradients = {**NO_DROPOUT, "rnn": rnn}, []
    for settings in ({"bptt": 100}, {"bptt": 4, "gradient_windows": 9}):
        model = tiny_classifier(encoder=encoder, max_len=0, **settings)
        model(*flat(DOCUMENTS)).pow(2).sum().backward()
        gradients.append([p.grad for p in model.parameters()])
    for whole, in_windows in zip(*gradients):
        torch.testing.assert_close(whole, in_windows, rtol=1e-4, atol=1e-6)


def test_a_training_batch_of_one_document_works_and_leaves_the_statistics():
    model = tiny_classifier(encoder=NO_DROPOUT, head_dropout=0.0, hidden_dropout=0.0)
    expected = model(*flat([DOCUMENTS[1]]))
    before = {name: value.clone() for name, value in model.named_buffers()}
    found = model.train()(*flat([DOCUMENTS[1]]))
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert all(
        torch.equal(value, before[name]) for name, value in model.named_buffers()
    )
    assert all(p.grad is not None for p in model.parameters())


def test_in_training_the_penalty_comes_with_the_logits():
    settings = {"head_dropout": 0.0, "hidden_dropout": 0.0}
    model = tiny_classifier(encoder=NO_DROPOUT, alpha=3.0, beta=2.0, **settings)
    assert model.classify(*flat(DOCUMENTS)).penalty.item() == 0.0
    model.train()
    expected = DocumentPenalty(len(DOCUMENTS), 3.0, 2.0)
    for window in read_windows(model.encoder, *flat(DOCUMENTS), 4):
        expected.add(window)
    found = model.classify(*flat(DOCUMENTS))
    torch.testing.assert_close(found.penalty, expected.total())
    torch.testing.assert_close(found.logits, model(*flat(DOCUMENTS)))


def test_running_statistics_are_those_of_the_first_batch_after_it():
    model = tiny_classifier(encoder=NO_DROPOUT).train()
    model(*flat(DOCUMENTS))
    pooled = torch.stack([pooled_alone(model, document) for document in DOCUMENTS])
    norm = model.head.norms[0]
    torch.testing.assert_close(norm.running_mean, pooled.mean(0))
    torch.testing.assert_close(norm.running_var, pooled.var(0))


def test_dropout_acts_in_training_only():
    model = tiny_classifier()
    batch = flat(DOCUMENTS)
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


@pytest.mark.parametrize("rnn", ["lstm", "qrnn"])
@pytest.mark.parametrize("n_trainable", [1, 2, 3])
def test_frozen_layers_record_nothing_and_change_no_gradient(rnn, n_trainable):
    """The top groups learn: head, then recurrent layers from the top."""
    encoder = {"rnn": rnn}
    whole, frozen = (tiny_classifier(encoder=encoder).train() for _ in range(2))
    learning = [
        prefix for group in frozen.layer_groups[-n_trainable:] for prefix in group
    ]
    for name, parameter in frozen.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(learning)))
    n_frozen = frozen.encoder.config.n_layers - (n_trainable - 1)
    torch.manual_seed(0)
    encoded = frozen.encoder.encode(torch.tensor(DOCUMENTS[1:2]))
    for number, raw in enumerate(encoded.raw_outputs):
        assert raw.requires_grad == (number >= n_frozen)
    for model in (whole, frozen):
        torch.manual_seed(0)
        output = model.classify(*flat(DOCUMENTS))
        (output.logits.pow(2).sum() + output.penalty).backward()
    gradients = dict(whole.named_parameters())
    for name, parameter in frozen.named_parameters():
        if parameter.requires_grad:
            assert torch.equal(parameter.grad, gradients[name].grad)
        else:
            assert parameter.grad is None
