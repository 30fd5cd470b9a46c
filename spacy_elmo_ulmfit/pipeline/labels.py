"""What examples say about the labels of a text classifier."""

from collections import Counter
from typing import Dict, Iterable, List, Literal, NamedTuple, Optional, Sequence, Union

from spacy.training import Example

ClassWeights = Optional[Union[Dict[str, float], Literal["balanced"]]]


class LabelCounts(NamedTuple):
    """How often labels occur.

    n_true (Dict[str, int]): Documents of which a label is true.
    n_known (Dict[str, int]): Documents that have a value for it, in order of appearance.
    n_docs (int): Documents with a true label.
    """

    n_true: Dict[str, int]
    n_known: Dict[str, int]
    n_docs: int


def count_labels(examples: Iterable[Example]) -> LabelCounts:
    """Count the labels of examples.

    examples (Iterable[Example]): The examples.
    RETURNS (LabelCounts): The counts.
    """
    n_true: Counter = Counter()
    n_known: Counter = Counter()
    n_docs = 0
    for example in examples:
        cats = example.reference.cats
        true = [label for label, value in cats.items() if value]
        n_true.update(true)
        n_known.update(cats.keys())
        n_docs += bool(true)
    return LabelCounts(n_true, n_known, n_docs)


def require_examples(
    name: str, labels: Optional[Sequence[str]], counts: LabelCounts, old: Sequence[str]
) -> List[str]:
    """Make sure that there is something to learn each label from.

    name (str): Name of the component.
    labels (Optional[Sequence[str]]): Labels of the config; by default all of the
        examples.
    counts (LabelCounts): Labels of the training examples.
    old (Sequence[str]): Labels that were learnt before, which need no examples.
    RETURNS (List[str]): The labels.
    RAISES (ValueError): If a label is true of no example.
    """
    wanted = list(counts.n_known if labels is None else labels)
    seen = {label for label, n in counts.n_true.items() if n}
    missing = [label for label in wanted if label not in seen.union(old)]
    if missing:
        source = "the training data name"
        if labels is not None:
            source = f"[initialize.components.{name}] labels names"
        raise ValueError(
            f"No training example has the label {', '.join(map(repr, missing))}, which "
            f"{source}. Add examples of it, or take it out. There are examples of: "
            f"{', '.join(sorted(seen)) or 'no label'}."
        )
    return wanted


def class_weights_of(
    name: str,
    setting: ClassWeights,
    labels: Sequence[str],
    counts: LabelCounts,
    *,
    exclusive: bool,
) -> Dict[str, float]:
    """Return the weight of each label.

    name (str): Name of the component.
    setting (Optional[Union[Dict[str, float], str]]): Weights of some labels, or
        `"balanced"`: with exclusive labels, those by which each label counts as much as
        any other; else as many times more where it is true as it is more often false.
    labels (Sequence[str]): The labels.
    counts (LabelCounts): Labels of the training examples.
    exclusive (bool): Whether labels exclude each other.
    RETURNS (Dict[str, float]): Weights other than 1.
    RAISES (ValueError): If there is no such label.
    """
    if setting == "balanced":
        seen = [label for label in labels if counts.n_true.get(label)]
        if exclusive:
            shares = {label: counts.n_docs / counts.n_true[label] for label in seen}
            return {label: share / len(seen) for label, share in shares.items()}
        return {
            label: max(1, counts.n_known[label] - counts.n_true[label])
            / counts.n_true[label]
            for label in seen
        }
    unknown = sorted(set(setting or ()) - set(labels))
    if unknown:
        raise ValueError(
            f"[components.{name}] class_weights has the label "
            f"{', '.join(map(repr, unknown))}, which the component has not. Its labels "
            f"are: {', '.join(labels)}."
        )
    return dict(setting or {})


def check_settings_of_labels(
    name: str, weights: ClassWeights, label_smoothing: float
) -> None:
    """Make sure that class weights and label smoothing are possible numbers.

    name (str): Name of the component.
    weights (Optional[Union[Dict[str, float], str]]): The component's `class_weights`.
    label_smoothing (float): The component's `label_smoothing`.
    RAISES (ValueError): If one is not.
    """
    if isinstance(weights, dict) and not all(value > 0 for value in weights.values()):
        raise ValueError(
            f"[components.{name}] class_weights must be above 0, got {weights}."
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(
            f"[components.{name}] label_smoothing must be at least 0 and below 1, got "
            f"{label_smoothing}."
        )


def check_known_labels(
    name: str, labels: Sequence[str], examples: Iterable[Example]
) -> None:
    """Make sure that a component with exclusive labels knows those of examples.

    name (str): Name of the component.
    labels (Sequence[str]): Its labels.
    examples (Iterable[Example]): The examples.
    RAISES (ValueError): If another label is true of one.
    """
    for example in examples:
        cats = example.reference.cats
        unknown = [label for label in cats if cats[label] and label not in labels]
        if unknown:
            raise ValueError(
                f"An example has the label '{unknown[0]}', which '{name}' has not "
                f"learnt; its labels are: {', '.join(labels)}. Add training examples "
                f"with that label, or take it out: {example.reference.text[:60]!r}"
            )
