"""AWD-LSTM and ULMFiT's classifier, written down in NumPy step by step."""

from typing import NamedTuple, Sequence

import numpy

from .fastai_files import Array, Model

_EPSILON = 1e-5


class Read(NamedTuple):
    """What a language model computes for a text.

    embedded (Array): *Shape:* `(n_words, emb_sz)`
    top (Array): Output of the last layer. *Shape:* `(n_words, emb_sz)`
    logits (Array): *Shape:* `(n_words, vocabulary)`
    """

    embedded: Array
    top: Array
    logits: Array


def read(model: Model, ids: Sequence[int]) -> Read:
    """Read a text from zero states."""
    embedded = model.embedding[list(ids)].astype("float64")
    hidden = embedded
    for number, layer in enumerate(model.layers):
        if model.sizes.qrnn:
            hidden = _qrnn(hidden, layer["weight"], layer["bias"], number == 0)
        else:
            hidden = _lstm(
                hidden, layer["ih"], layer["hh"], layer["b_ih"] + layer["b_hh"]
            )
    return Read(embedded, hidden, hidden @ model.embedding.T + model.bias)


def classify(model: Model, ids: Sequence[int]) -> Array:
    """Return the logits of a document that is read as a whole."""
    top = read(model, ids).top
    hidden = numpy.concatenate([top[-1], top.max(axis=0), top.mean(axis=0)])
    for number, block in enumerate(model.head):
        norm = block.norm
        scale = norm["weight"] / numpy.sqrt(norm["running_var"] + _EPSILON)
        hidden = (hidden - norm["running_mean"]) * scale + norm["bias"]
        hidden = block.weight @ hidden + block.bias
        if number == 0:
            hidden = numpy.maximum(hidden, 0.0)
    return hidden


def _lstm(inputs: Array, w_ih: Array, w_hh: Array, bias: Array) -> Array:
    hidden = cell = numpy.zeros(w_hh.shape[1])
    outputs = []
    for step in inputs:
        gates = numpy.split(w_ih @ step + w_hh @ hidden + bias, 4)
        enter, forget, leave = (_sigmoid(gates[i]) for i in (0, 1, 3))
        cell = forget * cell + enter * numpy.tanh(gates[2])
        hidden = leave * numpy.tanh(cell)
        outputs.append(hidden)
    return numpy.stack(outputs)


def _qrnn(inputs: Array, weight: Array, bias: Array, sees_previous: bool) -> Array:
    previous, cell = numpy.zeros(inputs.shape[1]), numpy.zeros(len(bias) // 3)
    outputs = []
    for step in inputs:
        seen = numpy.concatenate([step, previous]) if sees_previous else step
        new, share, leave = numpy.split(weight @ seen + bias, 3)
        share = _sigmoid(share)
        cell = share * numpy.tanh(new) + (1 - share) * cell
        outputs.append(_sigmoid(leave) * cell)
        previous = step
    return numpy.stack(outputs)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + numpy.exp(-x))
