import numpy
import pytest
import torch
from thinc.api import Adam, ArgsKwargs, Model, Optimizer

from spacy_elmo_ulmfit.checkpoints import read_checkpoint, save_module
from spacy_elmo_ulmfit.layers.awd_lstm import build_awd_lstm_model
from spacy_elmo_ulmfit.layers.bilm import build_bilm_model
from spacy_elmo_ulmfit.layers.shim import LanguageModelShim, TorchShim
from spacy_elmo_ulmfit.layers.ulmfit_classifier import build_ulmfit_classifier
from spacy_elmo_ulmfit.text import Vocabulary


class ThreeLayers(torch.nn.Module):
    """A module with three layer groups."""

    layer_groups = [("bottom.",), ("middle.",), ("top.",)]

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.bottom = torch.nn.Linear(3, 4)
        self.middle = torch.nn.Linear(4, 4)
        self.top = torch.nn.Linear(4, 2)

    def forward(self, inputs):
        return self.top(torch.tanh(self.middle(torch.tanh(self.bottom(inputs)))))


class SpyOptimizer(Optimizer):
    """Writes down what a shim asks of an optimizer and changes nothing."""

    def __init__(self):
        super().__init__(0.0, L2=0.0)
        self.rates, self.gradients = {}, {}

    def __call__(self, key, weights, gradient, *, lr_scale=1.0):
        self.rates[key[1]] = lr_scale
        self.gradients[key[1]] = numpy.array(gradient)
        return weights, gradient


def backprop(shim, scale=1.0):
    inputs = ArgsKwargs((torch.arange(6.0).view(2, 3) / 6,), {})
    output, callback = shim.begin_update(inputs)
    callback(ArgsKwargs(((output,),), {"grad_tensors": (scale * output.detach() + 1,)}))


def train(shim, optimizer, n_steps=3):
    for _ in range(n_steps):
        backprop(shim)
        shim.finish_update(optimizer)


def parameters(shim):
    return {name: p.detach().clone() for name, p in shim.module.named_parameters()}


def moved(before, after):
    return {
        name.split(".")[0]
        for name in before
        if not torch.equal(before[name], after[name])
    }


@pytest.mark.parametrize(
    "n_groups, learning",
    [
        (-1, set()),
        (1, {"top"}),
        (2, {"middle", "top"}),
        (3, {"bottom", "middle", "top"}),
        (99, {"bottom", "middle", "top"}),
    ],
)
def test_frozen_groups_do_not_move_even_with_momentum_and_l2(n_groups, learning):
    shim, optimizer = TorchShim(ThreeLayers()), Adam(0.1, L2=0.1)
    train(shim, optimizer)
    backprop(shim)
    shim.set_trainable_groups(n_groups)
    before = parameters(shim)
    if learning:
        train(shim, optimizer)
    else:
        shim.finish_update(optimizer)
    assert moved(before, parameters(shim)) == learning


def test_groups_learn_again_when_they_are_unfrozen():
    shim, optimizer = TorchShim(ThreeLayers()), Adam(0.1)
    shim.set_trainable_groups(1)
    train(shim, optimizer)
    shim.set_trainable_groups(3)
    before = parameters(shim)
    train(shim, optimizer)
    assert moved(before, parameters(shim)) == {"bottom", "middle", "top"}


def test_learning_rate_falls_from_group_to_group():
    shim, spy = TorchShim(ThreeLayers(), lr_decay=2.6), SpyOptimizer()
    train(shim, spy, 1)
    rates = {name.split(".")[0]: rate for name, rate in spy.rates.items()}
    assert rates == pytest.approx({"top": 1.0, "middle": 1 / 2.6, "bottom": 1 / 2.6**2})


def test_a_module_without_groups_has_one_rate():
    shim, spy = TorchShim(torch.nn.Linear(3, 2), lr_decay=2.6), SpyOptimizer()
    train(shim, spy, 1)
    assert set(spy.rates.values()) == {1.0}


@pytest.mark.parametrize("bound", [0.0, 0.5, 1e6])
def test_gradients_are_clipped_by_their_global_norm(bound):
    plain, clipped = SpyOptimizer(), SpyOptimizer()
    for spy, limit in ((plain, 0.0), (clipped, bound)):
        shim = TorchShim(ThreeLayers(), max_grad_norm=limit)
        backprop(shim, scale=10.0)
        shim.finish_update(spy)
    norm = numpy.sqrt(sum((g**2).sum() for g in plain.gradients.values()))
    assert norm > 0.5
    factor = min(1.0, bound / norm) if bound else 1.0
    for name, gradient in plain.gradients.items():
        numpy.testing.assert_allclose(
            clipped.gradients[name], factor * gradient, rtol=1e-4, atol=1e-7
        )


def test_gradients_are_gone_after_an_update():
    shim = TorchShim(ThreeLayers())
    train(shim, SpyOptimizer(), 1)
    assert all(p.grad is None for p in shim.module.parameters())


def test_a_step_is_that_of_the_optimizer():
    shim = TorchShim(torch.nn.Linear(3, 2))
    before = parameters(shim)
    backprop(shim)
    gradients = {name: p.grad.clone() for name, p in shim.module.named_parameters()}
    # The first step of Adam has the size of the rate, against the gradient.
    shim.finish_update(Adam(0.01, L2=0.0, grad_clip=0.0))
    for name, parameter in shim.module.named_parameters():
        expected = before[name] - 0.01 * gradients[name].sign()
        torch.testing.assert_close(parameter.data, expected, rtol=0, atol=1e-4)


def test_averages_of_an_optimizer_are_used_and_taken_back():
    shim = TorchShim(ThreeLayers())
    model = Model("test", lambda model, X, is_train: (X, None), shims=[shim])
    optimizer = Adam(0.1, use_averages=True)
    train(shim, optimizer, 5)
    before = parameters(shim)
    assert optimizer.averages
    with model.use_params(optimizer.averages):
        during = parameters(shim)
        for name, value in during.items():
            average = torch.from_numpy(optimizer.averages[(shim.id, name)])
            assert torch.equal(value, average.reshape(value.shape))
    assert moved(before, during) == {"bottom", "middle", "top"}
    assert moved(before, parameters(shim)) == set()


def test_averages_are_taken_back_after_an_error():
    shim = TorchShim(ThreeLayers())
    before = parameters(shim)
    zeros = {(shim.id, name): value.numpy() * 0 for name, value in before.items()}
    with pytest.raises(KeyboardInterrupt), shim.use_params(zeros):
        raise KeyboardInterrupt
    assert moved(before, parameters(shim)) == set()


def test_averages_of_other_models_are_left_alone():
    shim = TorchShim(ThreeLayers())
    before = parameters(shim)
    with shim.use_params({(shim.id + 1, "top.bias"): numpy.ones(2, "f")}):
        assert moved(before, parameters(shim)) == set()


def test_a_copy_has_its_own_weights_and_optimizer_state():
    shim = TorchShim(ThreeLayers(), lr_decay=2.6, max_grad_norm=1.0)
    shim.set_trainable_groups(2)
    copied = shim.copy()
    assert copied.id != shim.id
    assert copied.id not in {shim.copy().id, TorchShim(ThreeLayers()).id}
    assert (copied.lr_decay, copied.max_grad_norm) == (2.6, 1.0)
    before = parameters(shim)
    train(copied, Adam(0.1))
    assert moved(before, parameters(shim)) == set()
    assert moved(before, parameters(copied)) == {"middle", "top"}


def test_bytes_bring_the_weights_back():
    shim, other = TorchShim(ThreeLayers()), TorchShim(ThreeLayers())
    train(shim, Adam(0.1))
    other.from_bytes(shim.to_bytes())
    assert moved(parameters(shim), parameters(other)) == set()


def test_prediction_has_no_dropout_and_no_gradient():
    shim = TorchShim(torch.nn.Dropout(0.5))
    inputs = ArgsKwargs((torch.ones(5, 5),), {})
    assert torch.equal(shim.predict(inputs), torch.ones(5, 5))
    assert not torch.equal(shim.begin_update(inputs)[0], torch.ones(5, 5))
    assert torch.equal(shim.predict(inputs), torch.ones(5, 5))


# Language models


def awd_lstm_shim(**settings) -> LanguageModelShim:
    sizes = {"embedding_dim": 4, "hidden_dim": 6, "n_layers": 2}
    return build_awd_lstm_model(**{**sizes, **settings}).shims[0]


def with_weights(**settings) -> LanguageModelShim:
    shim = awd_lstm_shim(**settings)
    words = ["xxunk", "xxpad", "xxbos", "tea"]
    vocabulary = Vocabulary(words, [1, 0, 5, 2], unknown="xxunk")
    shim.create_tokenizer("en")
    shim.create(vocabulary, n_words=4)
    return shim


@pytest.mark.parametrize(
    "build", [build_bilm_model, build_awd_lstm_model, build_ulmfit_classifier]
)
def test_without_weights_the_error_says_where_to_take_them_from(build):
    model = build()
    with pytest.raises(ValueError, match=r"has no weights yet.*lm pretrain"):
        model.predict([])
    assert not model.shims[0].has_weights


def test_a_model_without_weights_can_be_stored_and_used_as_it_is():
    shim = awd_lstm_shim()
    assert shim.to_bytes() == b""
    assert not awd_lstm_shim().from_bytes(b"").has_weights
    with shim.use_params({}):
        assert not shim.has_weights


def test_weights_settings_and_vocabulary_come_back():
    shim = with_weights()
    other = awd_lstm_shim().from_bytes(shim.to_bytes())
    assert moved(parameters(shim), parameters(other)) == set()
    assert other.vocabulary.to_json() == shim.vocabulary.to_json()
    assert other.module.config == shim.module.config


def test_float16_storage_is_read_as_float32():
    shim = with_weights(storage="float16")
    other = awd_lstm_shim().from_bytes(shim.to_bytes())
    for name, value in parameters(shim).items():
        assert torch.equal(parameters(other)[name], value.half().float())


def test_dropouts_of_the_config_replace_those_of_the_weights():
    data = with_weights(weight_dropout=0.2).to_bytes()
    other = awd_lstm_shim(weight_dropout=0.7).from_bytes(data)
    assert other.module.config.weight_dropout == 0.7


def test_nested_dropouts_of_the_config_replace_those_of_the_weights():
    sizes = {"embedding_dim": 4, "hidden_dim": 6, "n_layers": 1}
    shims = [
        build_ulmfit_classifier(**sizes, **settings).shims[0]
        for settings in ({}, {"weight_dropout": 0.4, "drop_mult": 2.0, "bptt": 9})
    ]
    words = Vocabulary(["xxunk", "xxpad"], [0, 0], unknown="xxunk")
    encoder = {**shims[0].settings["encoder"], "n_words": 2}
    shims[0].create_tokenizer("en")
    shims[0].create(words, encoder=encoder, n_labels=2)
    shims[1].from_bytes(shims[0].to_bytes())
    module = shims[1].module
    assert module.encoder.config.weight_dropout == pytest.approx(0.8)
    assert module.encoder.config.n_words == 2
    assert (module.config.bptt, module.config.n_labels) == (9, 2)


def test_weights_of_another_width_are_refused_with_both_values():
    checkpoint = read_checkpoint(with_weights().to_bytes())
    message = r"hidden_dim = 8, but my-model has hidden_dim = 6"
    with pytest.raises(ValueError, match=message):
        awd_lstm_shim(hidden_dim=8).load(checkpoint, source="my-model")


def test_filters_read_from_a_file_equal_those_of_the_config():
    sizes = {"cell_dim": 6, "projection_dim": 4, "char_dim": 3}
    shim = build_bilm_model(filters=[[1, 3], [2, 2]], **sizes).shims[0]
    shim.create(None)
    data = shim.to_bytes()
    build_bilm_model(filters=((1, 3), (2, 2)), **sizes).shims[0].from_bytes(data)
    with pytest.raises(
        ValueError, match=r"filters = \[\[1, 9\]\].*\[\[1, 3\], \[2, 2\]\]"
    ):
        build_bilm_model(filters=[[1, 9]], **sizes).shims[0].from_bytes(data)


def test_weights_of_another_kind_are_refused():
    checkpoint = read_checkpoint(with_weights().to_bytes())
    shim = build_bilm_model().shims[0]
    with pytest.raises(ValueError, match="my-model holds a awd_lstm, but a bilm"):
        shim.load(checkpoint, source="my-model")
    assert not shim.has_weights


def test_unknown_storage_is_refused():
    with pytest.raises(ValueError, match="'int4'.*float16.*int8"):
        awd_lstm_shim(storage="int4")


def test_frozen_groups_stay_frozen_when_weights_are_loaded():
    shim = with_weights()
    data = save_module(shim.module)
    shim.set_trainable_groups(1)
    shim.from_bytes(data)
    learning = {n for n, p in shim.module.named_parameters() if p.requires_grad}
    assert {name.rpartition(".")[0] for name in learning} == {"layers.1"}


def test_filters_wider_than_a_word_are_refused():
    with pytest.raises(ValueError, match="width of 9.*max_chars = 8"):
        build_bilm_model(filters=[[9, 4]], max_chars=8)


def test_training_with_all_groups_frozen_moves_nothing():
    shim = TorchShim(ThreeLayers())
    shim.set_trainable_groups(0)
    before = parameters(shim)
    train(shim, Adam(0.1, L2=0.1))
    assert moved(before, parameters(shim)) == set()
