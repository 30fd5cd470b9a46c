import pytest
import torch
import torch.nn.functional as F

from spacy_elmo_ulmfit.modules.awd_lstm import (
    LSTM,
    QRNN,
    AWDLSTMConfig,
    activation_regularization,
    build_awd_lstm,
    detach_state,
)
from spacy_elmo_ulmfit.modules.weight_drop_lstm import WeightDropLSTM

from ..util import NO_DROPOUT, tiny_awd_lstm

RNNS = [LSTM, QRNN]
IDS = torch.tensor([[2, 5, 6, 7, 8, 9, 10, 3], [4, 4, 12, 0, 11, 5, 2, 9]])


def torch_reference(model, ids):
    """The same model of `torch.nn.LSTM` layers; returns the output of each."""
    hidden, outputs = model.embedding.weight[ids], []
    for number, layer in enumerate(model.layers):
        lstm = torch.nn.LSTM(*model.config.layer_dims(number), batch_first=True)
        lstm.load_state_dict(layer.state_dict())
        hidden = lstm(hidden)[0]
        outputs.append(hidden)
    return outputs


@pytest.mark.parametrize("n_layers", [1, 2, 3])
@pytest.mark.parametrize("training", [True, False])
def test_without_dropout_it_is_a_stack_of_torch_lstms(n_layers, training):
    model = tiny_awd_lstm(n_layers=n_layers, **NO_DROPOUT).train(training)
    logits, raw_outputs, state = model(IDS)
    expected = torch_reference(model, IDS)
    assert logits.shape == (2, 8, 13)
    assert len(raw_outputs) == len(state) == n_layers
    for raw, wanted, (hidden, _) in zip(raw_outputs, expected, state):
        torch.testing.assert_close(raw, wanted)
        torch.testing.assert_close(hidden[0], wanted[:, -1])
    decoded = expected[-1] @ model.embedding.weight.t() + model.decoder_bias
    torch.testing.assert_close(logits, decoded)


def test_weight_drop_lstm_without_dropout_has_torch_gradients():
    torch.manual_seed(0)
    layer, other = WeightDropLSTM(3, 4), torch.nn.LSTM(3, 4, batch_first=True)
    other.load_state_dict(layer.state_dict())
    inputs, state = torch.randn(2, 5, 3), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
    layer.run(inputs, state, 0.0)[0].pow(2).sum().backward()
    other(inputs)[0].pow(2).sum().backward()
    for one, two in zip(layer.parameters(), other.parameters()):
        torch.testing.assert_close(one.grad, two.grad)


@pytest.mark.parametrize("rnn", RNNS)
def test_weight_dropout_changes_outputs_but_never_parameters(rnn):
    settings = {**NO_DROPOUT, "weight_dropout": 0.5, "rnn": rnn}
    model = tiny_awd_lstm(**settings).train()
    before = {name: p.clone() for name, p in model.named_parameters()}
    names = list(model.state_dict())
    first, second = model(IDS)[0], model(IDS)[0]
    assert not torch.equal(first, second)
    assert list(model.state_dict()) == names
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name])


def test_weight_dropout_keeps_one_mask_for_all_steps():
    torch.manual_seed(0)
    layer = WeightDropLSTM(2, 3).train()
    zeros = (torch.zeros(1, 1, 3), torch.zeros(1, 1, 3))
    inputs = torch.randn(1, 6, 2)
    torch.manual_seed(1)
    found = layer.run(inputs, zeros, 0.5)[0]
    torch.manual_seed(1)
    dropped = F.dropout(layer.weight_hh_l0, 0.5)
    other = torch.nn.LSTM(2, 3, batch_first=True)
    other.load_state_dict({**layer.state_dict(), "weight_hh_l0": dropped.detach()})
    torch.testing.assert_close(found, other(inputs)[0])


@pytest.mark.parametrize("rnn", RNNS)
@pytest.mark.parametrize("name", sorted(NO_DROPOUT))
def test_each_dropout_acts_in_training_and_not_in_prediction(name, rnn):
    model = tiny_awd_lstm(**{**NO_DROPOUT, name: 0.5, "rnn": rnn})
    assert torch.equal(model(IDS)[0], model(IDS)[0])
    model.train()
    assert not torch.equal(model(IDS)[0], model(IDS)[0])


@pytest.mark.parametrize("rnn", RNNS)
def test_state_carried_over_windows_equals_one_pass(rnn):
    model = tiny_awd_lstm(rnn=rnn)
    whole = model(IDS)[0]
    first, _, state = model(IDS[:, :3])
    second, _, _ = model(IDS[:, 3:], detach_state(state))
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)


def test_decoder_is_tied_to_the_embedding():
    model = tiny_awd_lstm()
    before = model(IDS)[0]
    with torch.no_grad():
        # A word that the text lacks changes only its own logit.
        model.embedding.weight[1] += 1.0
    changed = (model(IDS)[0] - before).abs().amax(dim=(0, 1)) > 1e-6
    assert changed.nonzero().flatten().tolist() == [1]


def test_without_decoder_there_is_no_bias_to_train():
    names = [name for name, _ in tiny_awd_lstm(decoder=False).named_parameters()]
    assert "decoder_bias" not in names


@pytest.mark.parametrize("alpha, beta", [(2.0, 0.0), (0.0, 1.0), (2.0, 1.0)])
def test_regularization_is_ar_plus_tar(alpha, beta):
    output, raw = torch.randn(3, 4, 5), torch.randn(3, 4, 5)
    expected = alpha * (output**2).mean()
    expected += beta * ((raw[:, 1:] - raw[:, :-1]) ** 2).mean()
    found = activation_regularization(output, raw, alpha, beta)
    torch.testing.assert_close(found, expected)


def test_regularization_of_a_single_step_is_ar_alone():
    output = torch.randn(3, 1, 5)
    found = activation_regularization(output, output, 2.0, 1.0)
    torch.testing.assert_close(found, 2.0 * (output**2).mean())


def test_a_qrnn_sees_two_words_in_its_first_layer_and_one_above():
    model = tiny_awd_lstm(rnn=QRNN)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    assert shapes == {
        "embedding.weight": (13, 5),
        "layers.0.linear.weight": (21, 10),
        "layers.0.linear.bias": (21,),
        "layers.1.linear.weight": (21, 7),
        "layers.1.linear.bias": (21,),
        "layers.2.linear.weight": (15, 7),
        "layers.2.linear.bias": (15,),
        "decoder_bias": (13,),
    }


def test_layers_of_another_kind_are_refused():
    with pytest.raises(ValueError, match="rnn = 'gru': the layers are 'lstm' or"):
        tiny_awd_lstm(rnn="gru")


@pytest.mark.parametrize("rnn", RNNS)
def test_layer_groups_hold_every_weight_once(rnn):
    model = tiny_awd_lstm(rnn=rnn)
    for name, _ in model.named_parameters():
        assert sum(name.startswith(group) for group in model.layer_groups) == 1


@pytest.mark.parametrize("n_layers, widths", [(1, [(5, 5)]), (2, [(5, 7), (7, 5)])])
def test_first_input_and_last_output_have_the_width_of_the_embedding(n_layers, widths):
    config = AWDLSTMConfig(13, embedding_dim=5, hidden_dim=7, n_layers=n_layers)
    assert [config.layer_dims(i) for i in range(n_layers)] == widths


def test_plain_values_build_a_model():
    model = build_awd_lstm({"n_words": 9, "embedding_dim": 4, "hidden_dim": 6})
    assert (model.width, len(model.layers)) == (4, 3)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("n_rows", [1, 127, 128])
def test_prediction_is_what_training_computes_and_records_nothing(mode, n_rows):
    model = tiny_awd_lstm()
    ids = torch.randint(2, 13, (n_rows, 4))
    expected = model.encode(ids)
    assert expected.output.requires_grad
    with mode():
        found = model.encode(ids)
        again = model.encode(ids, found.state)
    for tensor in (found.output, *found.raw_outputs, again.output, *again.state[0]):
        assert not tensor.requires_grad and tensor.grad_fn is None
    torch.testing.assert_close(found.output, expected.output, rtol=0, atol=1e-6)
