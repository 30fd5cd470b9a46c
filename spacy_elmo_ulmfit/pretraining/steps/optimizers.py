"""Torch optimizers for language model training, as configs name them."""

from typing import Any, Callable, Collection, Dict, Iterable, List, Tuple, cast

import torch
from spacy.util import registry
from torch import nn

from .averaging import NTASGD

OptimizerFactory = Callable[[Iterable[Dict[str, Any]]], torch.optim.Optimizer]


@registry.optimizers("spacy-elmo-ulmfit.TorchAdamW.v1")
def create_adamw(
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-5,
    weight_decay: float = 0.01,
) -> OptimizerFactory:
    """Create AdamW (arXiv:1711.05101), with decoupled weight decay.

    beta1 (float): Decay of the mean of gradients.
    beta2 (float): Decay of the mean of squared gradients.
    eps (float): Added to the root of the mean square.
    weight_decay (float): Share of a weight that is taken away per unit of rate.
    RETURNS (Callable): Builds the optimizer from parameter groups.
    """

    return _adam(torch.optim.AdamW, (beta1, beta2), eps, weight_decay)


@registry.optimizers("spacy-elmo-ulmfit.TorchAdam.v1")
def create_adam(
    beta1: float = 0.9,
    beta2: float = 0.99,
    eps: float = 1e-5,
    weight_decay: float = 0.0,
) -> OptimizerFactory:
    """Create Adam (arXiv:1412.6980); its weight decay is an L2 penalty in the gradient.

    beta1 (float): Decay of the mean of gradients.
    beta2 (float): Decay of the mean of squared gradients.
    eps (float): Added to the root of the mean square.
    weight_decay (float): L2 penalty.
    RETURNS (Callable): Builds the optimizer from parameter groups.
    """

    return _adam(torch.optim.Adam, (beta1, beta2), eps, weight_decay)


def _adam(
    kind: "type[torch.optim.Adam] | type[torch.optim.AdamW]",
    betas: Tuple[float, float],
    eps: float,
    weight_decay: float,
) -> OptimizerFactory:
    def build(groups: Iterable[Dict[str, Any]]) -> torch.optim.Optimizer:
        settings: Dict[str, Any] = {"betas": betas, "eps": eps, "fused": True}
        return kind(list(groups), lr=0.0, weight_decay=weight_decay, **settings)

    return build


@registry.optimizers("spacy-elmo-ulmfit.NTASGD.v1")
def create_ntasgd(nonmono: int = 5, weight_decay: float = 1.2e-6) -> OptimizerFactory:
    """Create NT-ASGD, by which the AWD-LSTM was published, at a rate of 30.

    nonmono (int): Evaluations in which the perplexity may stall before averaging starts.
    weight_decay (float): L2 penalty.
    RETURNS (Callable): Builds the optimizer from parameter groups.
    """

    def build(groups: Iterable[Dict[str, Any]]) -> torch.optim.Optimizer:
        return NTASGD(groups, nonmono=nonmono, weight_decay=weight_decay)

    return build


@registry.optimizers("spacy-elmo-ulmfit.TorchSGD.v1")
def create_sgd(momentum: float = 0.0, weight_decay: float = 0.0) -> OptimizerFactory:
    """Create stochastic gradient descent.

    momentum (float): Share of the last step that is kept.
    weight_decay (float): L2 penalty.
    RETURNS (Callable): Builds the optimizer from parameter groups.
    """

    def build(groups: Iterable[Dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.SGD(
            list(groups), lr=0.0, momentum=momentum, weight_decay=weight_decay
        )

    return build


@registry.optimizers("spacy-elmo-ulmfit.TorchAdagrad.v1")
def create_adagrad(
    initial_accumulator: float = 1.0, eps: float = 1e-10
) -> OptimizerFactory:
    """Create Adagrad, by which the published biLMs were trained, at a rate of 0.2.

    bilm-tf multiplies its loss by the length of a window. To take the same steps
    with the mean loss used here, divide its accumulator of 1.0 by the square of
    `bptt`, and its bound of the gradients' norm, 10, by `bptt`.

    initial_accumulator (float): What the sums of squared gradients start from.
    eps (float): Added to the root of the sum.
    RETURNS (Callable): Builds the optimizer from parameter groups.
    """

    def build(groups: Iterable[Dict[str, Any]]) -> torch.optim.Optimizer:
        return torch.optim.Adagrad(
            list(groups),
            lr=0.0,
            initial_accumulator_value=initial_accumulator,
            eps=eps,
        )

    return build


def parameter_groups(
    module: nn.Module,
    lr_decay: float,
    left_out: Collection[nn.Parameter] = (),
) -> List[Dict[str, Any]]:
    """Group a module's parameters by layer, each with its share of the rate.

    module (nn.Module): A module with `layer_groups`.
    lr_decay (float): Factor between neighbouring groups; the top has the full rate.
    left_out (Collection[nn.Parameter]): Parameters that never learn.
    RETURNS (List[Dict[str, Any]]): Groups with `params` and `lr_scale`.
    """
    layer_groups = cast(List[Tuple[str, ...]], module.layer_groups)
    groups: List[Dict[str, Any]] = [
        {"params": [], "lr_scale": lr_decay**-depth}
        for depth in reversed(range(len(layer_groups)))
    ]
    never = set(map(id, left_out))
    for name, parameter in module.named_parameters():
        for group, prefixes in zip(groups, layer_groups):
            if name.startswith(prefixes) and id(parameter) not in never:
                group["params"].append(parameter)
    return [group for group in groups if group["params"]]
