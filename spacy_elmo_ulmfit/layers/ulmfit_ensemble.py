"""Two ULMFiT classifiers, one for each direction of reading, as one thinc model."""

from typing import Any, Callable, Dict, List, Tuple, cast

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from .awd_lstm_shim import AWDLSTMShim
from .label_growth import resize_output
from .ulmfit_classifier import ClassifierT, score_words

_NAME = "ulmfit_ensemble"
# Names of the two classifiers, which are also what they read.
_DIRECTIONS = ("forward", "backward")


@registry.architectures("spacy-elmo-ulmfit.ULMFiTEnsemble.v1")
def build_ulmfit_ensemble(forward: ClassifierT, backward: ClassifierT) -> ClassifierT:
    """Average the scores of two classifiers (arXiv:1801.06146, section 3.3).

    Each learns by its own loss, as if it were alone.

    forward (Model[List[Doc], Floats2d]): A `ULMFiTClassifier.v1`.
    backward (Model[List[Doc], Floats2d]): One with `direction = "backward"`.
    RETURNS (Model[List[Doc], Floats2d]): Scores, `(n_docs, n_labels)`.
    RAISES (ValueError): If one of them reads in the other direction, or they differ in
        their number of layers.
    """
    settings = [_encoder_settings(member) for member in (forward, backward)]
    for name, found in zip(_DIRECTIONS, settings):
        if found["direction"] != name:
            raise ValueError(
                f"The {name} model of spacy-elmo-ulmfit.ULMFiTEnsemble.v1 has direction = "
                f'"{found["direction"]}". Set direction = "{name}" in its block.'
            )
    n_layers = [found["n_layers"] for found in settings]
    if n_layers[0] != n_layers[1]:
        raise ValueError(
            "The models of spacy-elmo-ulmfit.ULMFiTEnsemble.v1 have n_layers = "
            f"{n_layers[0]} and {n_layers[1]}. They learn layer by layer together: give "
            "them the same number."
        )
    return Model(
        _NAME,
        forward_members,
        init=init,
        dims={"nO": None},
        layers=[forward, backward],
        attrs={"multi_label": False, "resize_output": resize_output},
    )


def ensemble_members(model: ClassifierT) -> Dict[str, ClassifierT]:
    """Return the classifiers that a model consists of, by name.

    model (Model[List[Doc], Floats2d]): A classifier or an ensemble.
    RETURNS (Dict[str, Model[List[Doc], Floats2d]]): `"forward"` and `"backward"`, or
        `"model"` if there is only one.
    """
    if model.name == _NAME:
        return dict(zip(_DIRECTIONS, model.layers))
    return {"model": model}


def init(model: ClassifierT, X: Any = None, Y: Any = None) -> ClassifierT:
    """Take the number of labels from the data."""
    for member in model.layers:
        member.initialize(X=X, Y=Y)
    if model.has_dim("nO") is None and Y is not None:
        model.set_dim("nO", Y.shape[1])
    return model


def forward_members(
    model: ClassifierT, docs: List[Doc], is_train: bool
) -> Tuple[Floats2d, Callable[[Floats2d], List[Doc]]]:
    """Average the scores of the members.

    The callback gives each of them the gradient as if the mean were its own scores.
    The components do not use it: there each member has a loss of its own.
    """
    outputs = [
        score_words(member, documents, is_train)
        for member, documents in zip(model.layers, read_for_members(model, docs))
    ]

    def backprop(d_scores: Floats2d) -> List[Doc]:
        for _, backprop_member in outputs:
            backprop_member(d_scores)
        return docs

    total: Any = sum(cast(Any, scores) for scores, _ in outputs)
    return cast(Floats2d, total / len(outputs)), backprop


def read_for_members(model: ClassifierT, docs: List[Doc]) -> List[List[List[str]]]:
    """Return what each classifier reads of documents, in its order.

    Classifiers with the same token rules share the reading of the text.

    model (Model[List[Doc], Floats2d]): A classifier or an ensemble.
    docs (List[Doc]): The documents.
    RETURNS (List[List[List[str]]]): For each classifier the words of each document.
    """
    members = ensemble_members(model).values()
    shims = [cast(AWDLSTMShim, member.shims[0]) for member in members]
    first = shims[0]
    documents = [first.words_of(doc) for doc in docs]
    read = [documents]
    for shim in shims[1:]:
        if not shim.reads_as(first):
            read.append([shim.words_of(doc) for doc in docs])
        elif shim.direction != first.direction:
            read.append([words[::-1] for words in documents])
        else:
            read.append(documents)
    return read


def _encoder_settings(member: ClassifierT) -> Dict[str, Any]:
    return cast(AWDLSTMShim, member.shims[0]).settings["encoder"]
