"""A trained classifier learns more labels."""

from dataclasses import replace

import torch
from torch import nn

from .classifier import ULMFiTClassifier


def resize_labels(model: ULMFiTClassifier, n_labels: int) -> None:
    """Change the number of labels; those that stay keep their weights.

    model (ULMFiTClassifier): The classifier, changed in place.
    n_labels (int): The new number of labels.
    """
    old = model.head.linears[-1]
    weight, bias = old.get_parameter("weight"), old.get_parameter("bias")
    new = nn.Linear(weight.shape[1], n_labels).to(weight)
    n_kept = min(n_labels, len(weight))
    with torch.no_grad():
        new.weight[:n_kept] = weight[:n_kept]
        new.bias[:n_kept] = bias[:n_kept]
    new.requires_grad_(weight.requires_grad)
    model.head.linears[-1] = new
    model.config = replace(model.config, n_labels=n_labels)
