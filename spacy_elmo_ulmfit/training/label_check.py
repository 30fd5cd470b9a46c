"""A check before training: labels that could never be predicted."""

from collections import Counter
from typing import Callable, Set

from spacy.language import Language
from spacy.util import registry, resolve_dot_names


@registry.callbacks("spacy-elmo-ulmfit.check_labels.v1")
def create_label_check() -> Callable[[Language], Language]:
    """Refuse development data with labels that no text classifier has learnt to know.

    spaCy gives components the training data only, and finds such a label in the middle
    of the first evaluation. This reads `[training] dev_corpus` before the first step.

    RETURNS (Callable): A callback for `[initialize.after_init]`.
    """

    def after_init(nlp: Language) -> Language:
        known = _category_labels(nlp)
        config = nlp.config.interpolate()
        name = config["training"]["dev_corpus"]
        (corpus,) = resolve_dot_names(config, [name])
        unknown: Counter = Counter(
            label
            for example in corpus(nlp)
            for label, value in example.reference.cats.items()
            if value and label not in known
        )
        if known and unknown:
            counts = ", ".join(
                f"{label!r} ({n} documents)" for label, n in unknown.items()
            )
            raise ValueError(
                f"The development data ([training] dev_corpus = {name!r}) has labels that "
                f"no training example has: {counts}. The components know: "
                f"{', '.join(sorted(known))}. Add training examples with those labels, or "
                "take them out of the development data."
            )
        return nlp

    return after_init


def _category_labels(nlp: Language) -> Set[str]:
    """Return the labels of all components that set `doc.cats`."""
    return {
        label
        for name, pipe in nlp.pipeline
        if "doc.cats" in nlp.get_pipe_meta(name).assigns
        for label in getattr(pipe, "labels", ())
    }
