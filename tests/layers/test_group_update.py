import gc

import numpy
import pytest
import torch
from thinc.api import SGD, Adam, RAdam
from torch import nn

from spacy_elmo_ulmfit.layers.group_update import (
    GroupStep,
    GroupUpdate,
    spared_from_decay,
)
from spacy_elmo_ulmfit.layers.shim import TorchShim

from ..util import tiny_classifier
from .test_shim import SpyOptimizer, ThreeLayers, backprop, moved, parameters, train

DEPTHS = {"top": 0, "middle": 1, "bottom": 2}
ATTRIBUTES = ("learn_rate", "b1", "b2", "eps", "L2", "grad_clip", "use_radam")


def updates(n):
    """Settings that change from step to step, as those of a cycle do."""
    return [
        GroupUpdate(learn_rate=0.01 * (i + 1), beta1=0.8 - 0.02 * i, weight_decay=0.1)
        for i in range(n)
    ]


def reference(shim):
    """AdamW of torch, a group for each parameter."""
    groups = [
        {"params": [p], "name": n, "scale": 2.6 ** -DEPTHS[n.split(".")[0]]}
        for n, p in shim.module.named_parameters()
    ]
    return torch.optim.AdamW(groups, lr=0.0, eps=1e-5)


@pytest.mark.parametrize("optimizer", [Adam(0.5, L2=3.0, grad_clip=1e-6), SGD(0.3)])
def test_steps_are_those_of_torch_whatever_the_optimizer_says(optimizer):
    shim, twin = TorchShim(ThreeLayers()), TorchShim(ThreeLayers())
    adamw = reference(twin)
    for update in updates(6):
        shim.set_group_update(update)
        train(shim, optimizer, 1)
        for group in adamw.param_groups:
            group["lr"] = update.learn_rate * group["scale"]
            group["betas"] = (update.beta1, update.beta2)
            group["weight_decay"] = 0.1 if group["name"].endswith("weight") else 0.0
        adamw.zero_grad()
        backprop(twin)
        adamw.step()
    for name, value in parameters(twin).items():
        torch.testing.assert_close(parameters(shim)[name], value, rtol=0, atol=2e-6)


@pytest.mark.parametrize("optimizer", [Adam(0.5), RAdam(0.5), SGD(0.3)])
def test_steps_leave_nothing_behind(optimizer):
    def n_tensors():
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    shim = TorchShim(ThreeLayers())
    train(shim, optimizer, 1)
    places = [p.data_ptr() for p in shim.module.parameters()]
    before = n_tensors()
    train(shim, optimizer, 5)
    assert n_tensors() == before
    assert [p.data_ptr() for p in shim.module.parameters()] == places


def test_weights_that_an_optimizer_returns_are_taken():
    def elsewhere(key, weights, gradient, *, lr_scale):
        return weights + 1.0, gradient

    optimizer = Adam(0.5)
    shim = TorchShim(ThreeLayers())
    backprop(shim)
    before = {name: value.clone() for name, value in parameters(shim).items()}
    step = GroupStep(optimizer, shim.id, None)
    step.optimizer = elsewhere
    for name, parameter in shim.module.named_parameters():
        step(name, parameter, lr_scale=1.0, decayed=False)
    for name, value in parameters(shim).items():
        assert value.equal(before[name] + 1.0)


def test_an_optimizer_keeps_its_own_settings():
    shim, optimizer = TorchShim(ThreeLayers()), RAdam(0.5)
    before = [getattr(optimizer, name) for name in ATTRIBUTES]
    shim.set_group_update(GroupUpdate(learn_rate=0.01))
    train(shim, optimizer, 2)
    assert [getattr(optimizer, name) for name in ATTRIBUTES] == before
    shim.set_group_update(None)
    train(shim, optimizer, 1)
    assert [getattr(optimizer, name) for name in ATTRIBUTES] == before


def test_groups_learn_by_the_decay_of_the_step():
    shim, spy = TorchShim(ThreeLayers(), lr_decay=100.0), SpyOptimizer()
    shim.set_group_update(GroupUpdate(learn_rate=0.01, lr_decay=2.6))
    train(shim, spy, 1)
    rates = {name.split(".")[0]: rate for name, rate in spy.rates.items()}
    assert rates == pytest.approx({"top": 1.0, "middle": 1 / 2.6, "bottom": 1 / 2.6**2})


def test_norms_and_linear_biases_are_spared_from_decay():
    module = tiny_classifier()
    decayed = {n for n, _ in module.named_parameters()} - spared_from_decay(module)
    lstm = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]
    layers = {f"encoder.layers.{i}.{name}" for i in range(3) for name in lstm}
    head = {f"head.linears.{i}.weight" for i in range(2)}
    assert decayed == {"encoder.embedding.weight"} | layers | head


@pytest.mark.parametrize("decoupled", [True, False])
def test_decay_of_the_optimizer_acts_on_the_same_parameters(decoupled):
    shim = TorchShim(ThreeLayers())
    before = parameters(shim)
    for parameter in shim.module.parameters():
        parameter.grad = torch.zeros_like(parameter)
    shim.finish_update(Adam(0.1, L2=0.5, L2_is_weight_decay=decoupled, grad_clip=0.0))
    after = parameters(shim)
    if decoupled:
        for name, value in before.items():
            factor = 1 - 0.1 * 0.5 if name.endswith("weight") else 1.0
            torch.testing.assert_close(after[name], factor * value)
    else:
        assert moved(before, after) == {"bottom", "middle", "top"}


def test_a_group_frozen_again_does_not_move():
    shim, optimizer = TorchShim(ThreeLayers()), Adam(0.1)
    shim.set_group_update(GroupUpdate(learn_rate=0.1, weight_decay=0.1))
    train(shim, optimizer)
    shim.set_trainable_groups([1])
    before = parameters(shim)
    train(shim, optimizer)
    assert moved(before, parameters(shim)) == {"middle"}


def test_the_average_of_a_group_frozen_again_is_its_weights():
    shim, optimizer = TorchShim(ThreeLayers()), Adam(0.1, use_averages=True)
    train(shim, optimizer)
    shim.set_trainable_groups(1)
    train(shim, optimizer)
    before = parameters(shim)
    with shim.use_params(optimizer.averages):
        assert moved(before, parameters(shim)) == {"top"}


def test_a_fresh_step_is_like_the_first():
    shim, optimizer = TorchShim(ThreeLayers()), Adam(0.1)
    settings = {"learn_rate": 0.01, "lr_decay": 1.0, "weight_decay": 0.0, "eps": 0.0}
    shim.set_group_update(GroupUpdate(**settings))
    train(shim, optimizer, 5)
    before = parameters(shim)
    backprop(shim, scale=-3.0)
    gradients = {n: p.grad.clone() for n, p in shim.module.named_parameters()}
    shim.set_group_update(GroupUpdate(**settings, fresh=True))
    shim.finish_update(optimizer)
    for name, value in parameters(shim).items():
        # The first step of Adam has the size of the rate, against the gradient.
        step = 0.01 * numpy.sign(gradients[name])
        torch.testing.assert_close(value, before[name] - step, rtol=0, atol=1e-4)


def test_gradients_are_clipped_by_their_global_norm_only():
    shim = TorchShim(ThreeLayers(), max_grad_norm=0.5)
    spy = SpyOptimizer()
    spy.grad_clip = 1e-9
    shim.set_group_update(GroupUpdate(learn_rate=0.1))
    backprop(shim, scale=10.0)
    shim.finish_update(spy)
    norm = numpy.sqrt(sum((g**2).sum() for g in spy.gradients.values()))
    assert norm == pytest.approx(0.5, rel=1e-4)


def test_a_module_of_one_layer_has_no_prefix():
    assert spared_from_decay(nn.Linear(2, 3)) == {"bias"}
