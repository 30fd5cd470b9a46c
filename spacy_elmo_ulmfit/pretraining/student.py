"""A new, smaller language model that is to learn from a trained one."""

from typing import Any, Tuple

from spacy import util
from spacy.language import Language
from thinc.api import Config

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.bilm_shim import BiLMShim
from ..layers.shim import LanguageModelShim
from ..text import Vocabulary


def create_student(
    config: Config, component: str, teacher: LanguageModelShim, vocabulary: Vocabulary
) -> Tuple[Language, LanguageModelShim]:
    """Build the pipeline of a config around a new language model.

    config (Config): The config, not interpolated, with a pipeline.
    component (str): Name of the language model's component in it.
    teacher (LanguageModelShim): The trained language model.
    vocabulary (Vocabulary): The words both predict.
    RETURNS (Tuple[Language, LanguageModelShim]): The pipeline, and the shim of its language
        model with fresh weights.
    RAISES (ValueError): If there is no such component, or it cannot learn from the teacher.
    """
    if component not in config.get("components", {}):
        raise ValueError(
            "[lm.distillation] trains a new, smaller model, but the config has no "
            f"[components.{component}] that says which. Add its pipeline, as in a config "
            "of 'lm pretrain'."
        )
    nlp = util.load_model_from_config(config, auto_fill=True)
    shim = getattr(nlp.get_pipe(component), "shim", None)
    if not isinstance(shim, LanguageModelShim) or shim.kind != teacher.kind:
        kind = getattr(shim, "kind", "no language model")
        raise ValueError(
            f"[components.{component}] is of the kind {kind}, its teacher of the kind "
            f"{teacher.kind}: a model learns from one of its own kind."
        )
    _check_setting("direction", shim.settings, teacher.settings)
    _check_setting("bidirectional", shim.settings, teacher.settings)
    if isinstance(shim, AWDLSTMShim) and isinstance(teacher, AWDLSTMShim):
        rules = {"tokens": teacher.tokenizer.kind}
        _check_setting("tokens", {"tokens": shim.tokens}, rules)
        shim.set_tokenizer(teacher.tokenizer)
    shim.create(vocabulary, n_words=len(vocabulary))
    if isinstance(shim, BiLMShim) and isinstance(teacher, BiLMShim):
        if shim.indexer.to_json() != teacher.indexer.to_json():
            raise ValueError(
                f"[components.{component}] reads words in another way than its teacher. "
                "Give it the max_chars, filters and word_dim by which the teacher reads."
            )
    return nlp, shim


def _check_setting(name: str, student: Any, teacher: Any) -> None:
    if student.get(name) != teacher.get(name):
        raise ValueError(
            f"A model learns from one that reads alike, but its {name} is "
            f"{student.get(name)!r} and its teacher's {teacher.get(name)!r}. Set {name} in "
            "its model block."
        )
