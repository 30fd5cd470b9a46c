"""The head of fastai's text classifiers: two blocks of batch norm, dropout and linear.

Sources: `PoolingLinearClassifier` in fastai 0.7's `lm_rnn.py`, in v1's
`text/learner.py` and in v2's `text/models/core.py`.
"""

import re
from typing import Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from .tensors import Named, Tensors, check_shapes

# A block and its part: 0.7 names the parts, v2 numbers them, v1 has no blocks. The
# numbers of v1 and v2 leave none out for a dropout of 0.
_KEY = re.compile(r"(?:.*\.|)1\.layers\.(\d+)\.(?:(bn|lin|\d+)\.)?(\w+)")
_PARTS = {"bn": 0, "lin": 1}
_NORM = ("weight", "bias", "running_mean", "running_var")
_TRACKED = "num_batches_tracked"


class Head(NamedTuple):
    """A classifier's head in our terms.

    layout (str): Who names the tensors so, such as `"fastai-v2"`.
    state (Dict[str, Tensor]): Its parameters and running statistics.
    hidden_dim (int): Width of the hidden layer.
    n_labels (int): Number of labels.
    """

    layout: str
    state: Dict[str, Tensor]
    hidden_dim: int
    n_labels: int


def read_head(tensors: Tensors, input_dim: int) -> Optional[Head]:
    """Read the head of a classifier.

    tensors (Tensors): The file's tensors.
    input_dim (int): Width of the pooled document.
    RETURNS (Optional[Head]): The head; `None` if the file is no classifier's.
    RAISES (ValueError): If it has other layers than ULMFiT's.
    """
    prefixes: Dict[Tuple[int, int], str] = {}
    layouts = set()
    for key in tensors.unread:
        match = _KEY.fullmatch(key)
        if match is not None:
            block, part, kind = match.groups()
            place = int(block), _PARTS[part] if part in _PARTS else int(part or 0)
            prefixes[place] = key.removesuffix(kind)
            layouts.add(_layout(part))
    if not prefixes:
        return None
    layers = [prefixes[place] for place in sorted(prefixes)]
    is_norm = [f"{layer}running_mean" in tensors.unread for layer in layers]
    if is_norm != [True, False, True, False]:
        raise ValueError(
            f"{tensors.name} has a head of {is_norm.count(False)} linear layers and "
            f"{is_norm.count(True)} batch norms, but ULMFiT's has two of each, by turns. "
            "Only classifiers with one hidden layer (lin_ftrs) can be read."
        )
    found = _translate(tensors, layers)
    hidden_dim, n_labels = (
        found[f"linears.{number}.bias"].tensor.numel() for number in (0, 1)
    )
    check_shapes(found, _expected(input_dim, hidden_dim, n_labels), tensors.name)
    state = {ours: named.tensor.contiguous() for ours, named in found.items()}
    return Head(layouts.pop(), state, hidden_dim, n_labels)


def _layout(part: Optional[str]) -> str:
    if part is None:
        return "fastai-v1"
    return "fastai-v0.7" if part in _PARTS else "fastai-v2"


def _translate(tensors: Tensors, layers: List[str]) -> Dict[str, Named]:
    """Take a norm, a linear layer, a norm and a linear layer out."""
    found = {}
    for number, (norm, linear) in enumerate(zip(layers[::2], layers[1::2])):
        for kind in _NORM:
            found[f"norms.{number}.{kind}"] = tensors.get(f"{norm}{kind}")
        # 0.7 ran on versions of torch that did not count.
        tracked = tensors.find(f"{norm}{_TRACKED}")
        found[f"norms.{number}.{_TRACKED}"] = tracked or Named("", torch.tensor(0))
        weight = tensors.get(f"{linear}weight")
        found[f"linears.{number}.weight"] = weight
        # v2 has no bias: the next batch norm, or the softmax, can do without.
        bias = tensors.find(f"{linear}bias")
        zeros = weight.tensor.new_zeros(weight.tensor.shape[:1])
        found[f"linears.{number}.bias"] = bias or Named("", zeros)
    return found


def _expected(input_dim: int, hidden_dim: int, n_labels: int) -> Dict[str, Tensor]:
    shapes: Dict[str, Tuple[int, ...]] = {}
    for number, (n_in, n_out) in enumerate(
        ((input_dim, hidden_dim), (hidden_dim, n_labels))
    ):
        shapes.update({f"norms.{number}.{kind}": (n_in,) for kind in _NORM})
        shapes[f"norms.{number}.{_TRACKED}"] = ()
        shapes[f"linears.{number}.weight"] = (n_out, n_in)
        shapes[f"linears.{number}.bias"] = (n_out,)
    return {ours: torch.empty(shape, device="meta") for ours, shape in shapes.items()}
