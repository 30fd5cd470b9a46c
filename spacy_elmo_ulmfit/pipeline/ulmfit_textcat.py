"""The `ulmfit_textcat` and `ulmfit_textcat_multilabel` components."""

from typing import Callable, Dict, Optional

from spacy.language import Language
from spacy.pipeline.textcat import TextCategorizer
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer

from ..layers.ulmfit_classifier import ClassifierT
from .classifier_pipe import ULMFiTClassifierPipe
from .labels import ClassWeights

_SCORE_WEIGHTS: Dict[str, Optional[float]] = {
    "cats_score": 1.0,
    "cats_score_desc": None,
    "cats_micro_p": None,
    "cats_micro_r": None,
    "cats_micro_f": None,
    "cats_macro_p": None,
    "cats_macro_r": None,
    "cats_macro_f": None,
    "cats_macro_auc": None,
    "cats_f_per_type": None,
}


_DEFAULT_CONFIG = {
    "class_weights": None,
    "label_smoothing": 0.0,
    "cache_mb": 0,
    "model": {"@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1"},
}


@Language.factory(
    "ulmfit_textcat",
    assigns=["doc.cats"],
    default_config={
        **_DEFAULT_CONFIG,
        "threshold": 0.0,
        "scorer": {"@scorers": "spacy.textcat_scorer.v2"},
    },
    default_score_weights=_SCORE_WEIGHTS,
)
def make_ulmfit_textcat(
    nlp: Language,
    name: str,
    model: ClassifierT,
    threshold: float,
    class_weights: ClassWeights,
    label_smoothing: float,
    cache_mb: int,
    scorer: Callable,
) -> "ULMFiTTextCategorizer":
    """Create ULMFiT's classifier for exclusive labels.

    model (Model[List[Doc], Floats2d]): The classifier.
    threshold (float): Unused with exclusive labels.
    class_weights (Optional[Union[Dict[str, float], str]]): Weights of labels in the
        loss; `"balanced"` for those by which each label counts as much as any other.
    label_smoothing (float): Share of the truth that is spread over all labels.
    cache_mb (int): Room for what a frozen encoder reads of documents, in megabytes.
        While no layer of the encoder learns, each document is then read once, as in
        prediction, instead of in every epoch and with the encoder's dropouts.
    scorer (Callable): The scoring method.
    """
    return ULMFiTTextCategorizer(
        nlp.vocab,
        model,
        name,
        threshold=threshold,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        cache_mb=cache_mb,
        scorer=scorer,
    )


@Language.factory(
    "ulmfit_textcat_multilabel",
    assigns=["doc.cats"],
    default_config={
        **_DEFAULT_CONFIG,
        "threshold": 0.5,
        "scorer": {"@scorers": "spacy.textcat_multilabel_scorer.v2"},
    },
    default_score_weights=_SCORE_WEIGHTS,
)
def make_ulmfit_textcat_multilabel(
    nlp: Language,
    name: str,
    model: ClassifierT,
    threshold: float,
    class_weights: ClassWeights,
    label_smoothing: float,
    cache_mb: int,
    scorer: Callable,
) -> "ULMFiTMultiLabelTextCategorizer":
    """Create ULMFiT's classifier for labels that do not exclude each other.

    model (Model[List[Doc], Floats2d]): The classifier.
    threshold (float): Score from which a label counts as predicted.
    class_weights (Optional[Union[Dict[str, float], str]]): Weights of labels in the
        loss where they are true; `"balanced"` for as many times more as they are
        more often false.
    label_smoothing (float): How far truths of 0 and 1 are moved towards each other.
    cache_mb (int): Room for what a frozen encoder reads of documents, in megabytes.
        While no layer of the encoder learns, each document is then read once, as in
        prediction, instead of in every epoch and with the encoder's dropouts.
    scorer (Callable): The scoring method.
    """
    return ULMFiTMultiLabelTextCategorizer(
        nlp.vocab,
        model,
        name,
        threshold=threshold,
        class_weights=class_weights,
        label_smoothing=label_smoothing,
        cache_mb=cache_mb,
        scorer=scorer,
    )


class ULMFiTTextCategorizer(ULMFiTClassifierPipe, TextCategorizer):
    """ULMFiT's classifier for exclusive labels.

    Arguments are those of spaCy's `TextCategorizer` and of `ULMFiTClassifierPipe`.
    """

    multi_label = False


class ULMFiTMultiLabelTextCategorizer(ULMFiTClassifierPipe, MultiLabel_TextCategorizer):
    """ULMFiT's classifier for labels that do not exclude each other.

    Arguments are those of spaCy's `MultiLabel_TextCategorizer` and of
    `ULMFiTClassifierPipe`.
    """

    multi_label = True
