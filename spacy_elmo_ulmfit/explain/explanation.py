"""Scores that say which tokens of a document made ULMFiT's classifier decide."""

from dataclasses import dataclass
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union, cast

import numpy
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..modules.attribution import (
    input_gradients,
    intrinsic_attention,
    label_probabilities,
    occlusion,
)
from ..modules.classifier import ULMFiTClassifier
from ..pipeline.classifier_pipe import ULMFiTClassifierPipe
from ..text import Vocabulary

INTRINSIC_ATTENTION = "intrinsic-attention"
INPUT_GRADIENTS = "input-gradients"
OCCLUSION = "occlusion"
METHODS = (INTRINSIC_ATTENTION, INPUT_GRADIENTS, OCCLUSION)

_GRADIENT_METHODS = {
    INTRINSIC_ATTENTION: intrinsic_attention,
    INPUT_GRADIENTS: input_gradients,
}


@dataclass(frozen=True)
class Explanation:
    """What each token of a document had to do with a label.

    doc (Doc): The document.
    label (str): The label that is explained.
    method (str): One of `METHODS`.
    scores (NDArray): A float32 score per token, 0 for tokens that are not read. *Shape:* `(n_tokens,)`
    words (List[Tuple[str, ...]]): What the classifier reads of each token, `unknown`
        for words that its vocabulary lacks.
    unknown (str): The word that stands for unknown ones.
    probabilities (Dict[str, float]): The classifier's probability of every label.
    """

    doc: Doc
    label: str
    method: str
    scores: NDArray[numpy.float32]
    words: List[Tuple[str, ...]]
    unknown: str
    probabilities: Dict[str, float]

    @property
    def signed(self) -> bool:
        """Whether negative scores speak against the label."""
        return self.method != INTRINSIC_ATTENTION

    def strongest(self, n: int) -> List[int]:
        """Return the tokens of the largest scores, whatever their sign.

        n (int): Most tokens to return.
        RETURNS (List[int]): Their indices in the document, the strongest first.
        """
        order = numpy.argsort(-numpy.abs(self.scores), kind="stable")
        return [int(i) for i in order if self.scores[i] != 0][:n]


class Classifier(NamedTuple):
    """A ULMFiT classifier in a pipeline: one model, or several that are averaged.

    labels (Sequence[str]): Its labels.
    multi_label (bool): Whether they do not exclude each other.
    shims (List[AWDLSTMShim]): The models, each of which reads text in its own way.
    """

    labels: Sequence[str]
    multi_label: bool
    shims: List[AWDLSTMShim]


def explain(
    nlp: Language,
    text: Union[str, Doc],
    label: Optional[str] = None,
    method: str = INTRINSIC_ATTENTION,
    *,
    component: Optional[str] = None,
) -> Explanation:
    """Score the tokens of a text by what they had to do with a label.

    The scores of all that is read of a token (`xxmaj` and `rome` for Rome) are summed.
    Of a forward and a backward model, or any others that are averaged, they are the mean.

    `"intrinsic-attention"` is the gradient of the label's probability without signs,
    divided by the largest of the document: from 0 to 1. `"input-gradients"` is
    embedding times gradient, positive for the label. `"occlusion"` is what the
    probability loses when the unknown word stands in the token's place; it takes a
    pass per token.

    nlp (Language): A pipeline with a ulmfit_textcat or ulmfit_textcat_multilabel.
    text (Union[str, Doc]): The text, or a document of the pipeline.
    label (Optional[str]): The label; by default the one of the highest probability.
    method (str): One of `METHODS`.
    component (Optional[str]): Name of the classifier; by default the pipeline's first.
    RETURNS (Explanation): A score per token.
    RAISES (ValueError): If there is no such label, method or classifier.
    """
    if method not in METHODS:
        raise ValueError(f"method = {method!r} is none of {', '.join(METHODS)}.")
    classifier = find_classifier(nlp, component)
    doc = nlp(text) if isinstance(text, str) else text
    probabilities = _probabilities(classifier, doc)
    label = label or max(probabilities, key=lambda name: probabilities[name])
    if label not in probabilities:
        raise ValueError(
            f"The classifier has no label {label!r}; it has {', '.join(probabilities)}."
        )
    parts = [
        _token_scores(
            shim,
            doc,
            method,
            label=list(classifier.labels).index(label),
            multi_label=classifier.multi_label,
        )
        for shim in classifier.shims
    ]
    scores = numpy.mean(parts, axis=0)
    if method == INTRINSIC_ATTENTION and scores.any():
        scores = scores / scores.max()
    return Explanation(
        doc=doc,
        label=label,
        method=method,
        scores=scores.astype("float32"),
        words=_words(classifier.shims[0], doc),
        unknown=_vocabulary(classifier.shims[0]).unknown,
        probabilities=probabilities,
    )


def correlation(one: Explanation, other: Explanation) -> Optional[float]:
    """Compare two explanations of a document by Pearson's correlation over its tokens.

    one (Explanation): Beside intrinsic attention, which has no sign, that of the other's
        scores does not count.
    other (Explanation): Another of the same document.
    RETURNS (Optional[float]): From -1 to 1; `None` where the scores of one do not
        differ.
    """
    read = numpy.array([bool(words) for words in one.words], dtype=bool)
    scores = [one.scores[read], other.scores[read]]
    if not (one.signed and other.signed):
        scores = [numpy.abs(values) for values in scores]
    if any(len(values) < 2 or numpy.ptp(values) == 0 for values in scores):
        return None
    return float(numpy.corrcoef(*scores)[0, 1])


def find_classifier(nlp: Language, component: Optional[str] = None) -> Classifier:
    """Find ULMFiT's classifier in a pipeline.

    nlp (Language): The pipeline.
    component (Optional[str]): Name of the component; by default the first.
    RETURNS (Classifier): Its models and labels.
    RAISES (ValueError): If there is none, or the component is none.
    """
    pipes = dict(nlp.pipeline)
    names = list(pipes) if component is None else [component]
    for name in names:
        pipe: Any = pipes.get(name)
        if isinstance(pipe, ULMFiTClassifierPipe):
            shims = list(pipe.shims.values())
            return Classifier(list(cast(Any, pipe).labels), pipe.multi_label, shims)
    wanted = "component" if component is None else f"component {component!r}"
    raise ValueError(
        f"The pipeline has no {wanted} made by ulmfit_textcat or "
        f"ulmfit_textcat_multilabel; it has {', '.join(pipes) or 'none at all'}. Only "
        "ULMFiT's classifiers can be explained."
    )


def _probabilities(classifier: Classifier, doc: Doc) -> Dict[str, float]:
    parts = []
    for shim in classifier.shims:
        module = _module(shim)
        with torch.no_grad():
            logits = module(*shim.word_ids([shim.words_of(doc)]))
        parts.append(label_probabilities(logits, classifier.multi_label)[0].cpu())
    means = torch.stack(parts).mean(dim=0).tolist()
    return dict(zip(classifier.labels, means))


def _token_scores(
    shim: AWDLSTMShim, doc: Doc, method: str, *, label: int, multi_label: bool
) -> NDArray[numpy.float32]:
    """Return one model's score of each token. *Shape:* `(n_tokens,)`"""
    read = shim.read(doc)
    ids, _ = shim.word_ids([read.words])
    scores = numpy.zeros(len(doc), dtype="float32")
    if method != OCCLUSION:
        found = _GRADIENT_METHODS[method](
            _module(shim), ids, label, multi_label=multi_label
        )
        for owner, score in zip(read.owners, found.tolist()):
            if owner >= 0:
                scores[owner] += score
        return scores
    positions: Dict[int, List[int]] = {}
    for position, owner in enumerate(read.owners):
        if owner >= 0:
            positions.setdefault(owner, []).append(position)
    found = occlusion(
        _module(shim),
        ids,
        label,
        list(positions.values()),
        unknown_id=_vocabulary(shim).unknown_id,
        multi_label=multi_label,
    )
    scores[list(positions)] = found.cpu().numpy()
    return scores


def _words(shim: AWDLSTMShim, doc: Doc) -> List[Tuple[str, ...]]:
    """Return what a model reads of each token, unknown words as the unknown one."""
    # In the order of the text, whatever the direction.
    read = shim.tokenizer(doc)
    vocabulary = _vocabulary(shim)
    result: List[Tuple[str, ...]] = [()] * len(doc)
    for owner, word in zip(read.owners, read.words):
        if owner >= 0:
            known = word if word in vocabulary else vocabulary.unknown
            result[owner] = (*result[owner], known)
    return result


def _module(shim: AWDLSTMShim) -> ULMFiTClassifier:
    return cast(ULMFiTClassifier, shim.module.eval())


def _vocabulary(shim: AWDLSTMShim) -> Vocabulary:
    return cast(Vocabulary, shim.vocabulary)
