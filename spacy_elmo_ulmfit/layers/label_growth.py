"""What lets spaCy's `add_label` act on a trained classifier."""

from typing import cast

from thinc.api import Model

from ..modules.classifier import ULMFiTClassifier
from ..modules.label_growth import resize_labels
from .shim import LanguageModelShim


def resize_output(model: Model, n_labels: int) -> Model:
    """Give a classifier, if it has weights, another number of labels.

    model (Model): A `ULMFiTClassifier.v1`, or a model around some.
    n_labels (int): The number of labels.
    RETURNS (Model): The same model.
    """
    for node in model.walk():
        for shim in node.shims:
            _resize_shim(cast(LanguageModelShim, shim), n_labels)
        if node.has_dim("nO"):
            node.set_dim("nO", n_labels, force=True)
    return model


def _resize_shim(shim: LanguageModelShim, n_labels: int) -> None:
    if not shim.has_weights:
        return
    module = cast(ULMFiTClassifier, shim.module)
    if module.config.n_labels != n_labels:
        resize_labels(module, n_labels)
        # What optimizers know of the weights is of the old size.
        shim.renew_id()
