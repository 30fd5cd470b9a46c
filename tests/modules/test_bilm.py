import pytest
import torch

from spacy_elmo_ulmfit.modules.bilm import build_bilm

from ..util import char_ids, tiny_bilm

SENTENCES = [
    ["<S>", "one", "</S>"],
    ["<S>", "a", "longer", "sentence", "than", "one", "</S>"],
    ["<S>", "a", "b", "</S>"],
]


def encode(model, sentences, initial_state="warm"):
    """Return each sentence's layers."""
    words = sorted({word for sentence in sentences for word in sentence})
    index = torch.tensor([words.index(w) for sentence in sentences for w in sentence])
    lengths = [len(sentence) for sentence in sentences]
    layers = model.encode(char_ids(words), index, lengths, initial_state=initial_state)
    return layers.split(lengths, dim=1)


def lstm(layer, inputs, hidden, cell):
    outputs = []
    for x in inputs:
        i, f, g, o = (
            layer.weight_ih @ x + layer.weight_hh @ hidden + layer.bias
        ).chunk(4)
        cell = torch.sigmoid(f) * cell + torch.sigmoid(i) * torch.tanh(g)
        cell = cell.clamp(-layer.cell_clip, layer.cell_clip)
        hidden = layer.weight_hr @ (torch.sigmoid(o) * torch.tanh(cell))
        hidden = hidden.clamp(-layer.proj_clip, layer.proj_clip)
        outputs.append(hidden)
    return torch.stack(outputs)


def reference(model, sentence, warm=False):
    """All layers of one sentence, one direction after the other."""
    tokens = model.token_encoder(char_ids(sentence))
    halves = []
    for direction, layers in enumerate([model.forward_layers, model.backward_layers]):
        inputs = tokens.flip(0) if direction else tokens
        outputs = [inputs]
        for number, layer in enumerate(layers):
            hidden = model.warm_hidden[direction, number, 0] * warm
            cell = model.warm_cell[direction, number, 0] * warm
            result = lstm(layer, outputs[-1], hidden, cell)
            if number and model.config.residual:
                result = result + outputs[-1]
            outputs.append(result)
        halves.append([out.flip(0) if direction else out for out in outputs])
    return torch.stack([torch.cat(pair, dim=1) for pair in zip(*halves)])


def warmed(**settings):
    model = tiny_bilm(cell_clip=0.3, proj_clip=0.2, **settings)
    model.store_warm_state(char_ids(["<S>", "some", "neutral", "words", "</S>"]))
    return model


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("with_grad", [False, True])
def test_layers_are_those_of_a_plain_loop_over_each_sentence(warm, residual, with_grad):
    model = warmed(residual=residual, n_layers=3)
    with torch.set_grad_enabled(with_grad):
        found = encode(model, SENTENCES, "warm" if warm else "zeros")
    for layers, sentence in zip(found, SENTENCES):
        expected = reference(model, sentence, warm)
        torch.testing.assert_close(layers, expected, rtol=1e-4, atol=1e-6)


def test_first_layer_is_the_token_layer_twice():
    model = warmed()
    layers = encode(model, SENTENCES[:1])[0]
    tokens = model.token_encoder(char_ids(SENTENCES[0]))
    torch.testing.assert_close(layers[0], torch.cat([tokens, tokens], dim=1))


def test_a_sentence_does_not_depend_on_its_neighbours_or_their_order():
    model = warmed()
    together = encode(model, SENTENCES)
    turned = encode(model, SENTENCES[::-1])[::-1]
    for layers, other, sentence in zip(together, turned, SENTENCES):
        alone = encode(model, [sentence])[0]
        torch.testing.assert_close(layers, alone, rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(layers, other, rtol=1e-5, atol=1e-6)


def test_backward_is_forward_of_the_reversed_sentence():
    model = tiny_bilm()
    model.backward_layers.load_state_dict(model.forward_layers.state_dict())
    sentence = SENTENCES[1]
    layers = encode(model, [sentence, SENTENCES[0]])[0]
    mirrored = encode(model, [sentence[::-1]])[0].flip(1)
    width = model.config.projection_dim
    torch.testing.assert_close(layers[..., width:], mirrored[..., :width])


def test_residual_is_added_above_the_first_layer_only():
    model = tiny_bilm(proj_clip=1e-6, n_layers=3)
    layers = encode(model, SENTENCES[:1], "zeros")[0]
    # With outputs clipped to nothing, only residuals are left.
    assert layers[1].abs().max() < 1e-5
    plain = tiny_bilm(proj_clip=0.01, n_layers=2, residual=False)
    added = tiny_bilm(proj_clip=0.01, n_layers=2, residual=True)
    without, with_it = (encode(m, SENTENCES[:1], "zeros")[0] for m in (plain, added))
    torch.testing.assert_close(with_it[1], without[1])
    torch.testing.assert_close(with_it[2], without[2] + without[1])


def test_warm_state_is_the_state_after_the_sentence():
    sentence = ["<S>", "go", "on", "</S>"]
    model = tiny_bilm()
    model.store_warm_state(char_ids(sentence))
    both = encode(model, [sentence + SENTENCES[1]], "zeros")[0]
    width = model.config.projection_dim
    warm = encode(model, [SENTENCES[1]], "warm")[0]
    torch.testing.assert_close(warm[:, :, :width], both[:, len(sentence) :, :width])


def test_warm_state_is_used_and_travels_in_the_state_dict():
    model = warmed()
    warm, cold = (encode(model, SENTENCES, kind)[0] for kind in ("warm", "zeros"))
    assert (warm[1:] - cold[1:]).abs().max() > 1e-3
    other = tiny_bilm(seed=1, cell_clip=0.3, proj_clip=0.2)
    other.load_state_dict(model.state_dict())
    assert torch.equal(encode(other, SENTENCES)[0], warm)


@pytest.mark.parametrize("training", [True, False])
def test_storing_the_warm_state_keeps_the_mode_and_uses_no_dropout(training):
    model = tiny_bilm(dropout=0.9).train(training)
    model.store_warm_state(char_ids(SENTENCES[1]))
    first = model.warm_hidden.clone()
    model.store_warm_state(char_ids(SENTENCES[1]))
    assert torch.equal(model.warm_hidden, first)
    assert model.training is training


def test_forward_takes_a_padded_batch_and_leaves_zeros_in_the_padding():
    model = warmed()
    ids = torch.zeros(3, 7, 16, dtype=torch.long)
    for row, sentence in zip(ids, SENTENCES):
        row[: len(sentence)] = char_ids(sentence)
    output = model(ids)
    for row, layers in enumerate(encode(model, SENTENCES)):
        n = layers.shape[1]
        torch.testing.assert_close(output[:, row, :n], layers, rtol=1e-5, atol=1e-6)
        assert not output[:, row, n:].any()


def test_forward_refuses_an_empty_row():
    with pytest.raises(ValueError, match="at least one token"):
        tiny_bilm()(torch.zeros(1, 2, 16, dtype=torch.long))


def test_streams_carry_their_state():
    model = tiny_bilm()
    words = char_ids([f"w{i}" for i in range(8)])
    index = torch.randint(8, (2, 3, 10))
    state = model.initial_state(3, "zeros")
    whole, last = model.stream(words, index, state)
    first, between = model.stream(words, index[:, :, :5], state)
    second, end = model.stream(words, index[:, :, 5:], between)
    torch.testing.assert_close(torch.cat([first, second], dim=2), whole)
    torch.testing.assert_close(end, last)


def test_stream_is_the_top_layer_of_each_direction():
    model = tiny_bilm()
    sentence = SENTENCES[1]
    layers = encode(model, [sentence], "zeros")[0]
    positions = torch.arange(len(sentence))
    index = torch.stack([positions, positions.flip(0)]).unsqueeze(1)
    outputs, _ = model.stream(
        char_ids(sentence), index, model.initial_state(1, "zeros")
    )
    width = model.config.projection_dim
    torch.testing.assert_close(outputs[0, 0], layers[-1, :, :width])
    torch.testing.assert_close(outputs[1, 0].flip(0), layers[-1, :, width:])


def test_dropout_acts_in_training_only():
    model = tiny_bilm()
    assert torch.equal(encode(model, SENTENCES)[0], encode(model, SENTENCES)[0])
    model.train()
    assert not torch.equal(encode(model, SENTENCES)[0], encode(model, SENTENCES)[0])


def test_gradient_reaches_every_weight_but_the_softmax():
    model = tiny_bilm()
    torch.cat(encode(model, SENTENCES), dim=1).pow(2).sum().backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None}
    assert missing == {"head.weight", "head.bias"}


def test_layer_groups_hold_every_weight_once():
    model = tiny_bilm()
    for name, _ in model.named_parameters():
        assert sum(name.startswith(group) for group in model.layer_groups) == 1


def test_settings_read_from_json_build_the_same_model():
    model = build_bilm(
        {"filters": [[1, 4], [2, 3]], "cell_dim": 4, "projection_dim": 3}
    )
    assert model.config.filters == ((1, 4), (2, 3))
    assert (model.width, model.n_outputs) == (6, 3)
