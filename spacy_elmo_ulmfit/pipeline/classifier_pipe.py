"""What ULMFiT's two text classifiers share."""

from pathlib import Path
from typing import (
    Any,
    Callable,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Tuple,
    Union,
    cast,
)

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from thinc.api import Optimizer
from thinc.types import Floats2d
from torch import nn

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.group_update import GroupUpdate
from ..layers.shim import TrainableGroups
from ..layers.ulmfit_classifier import ClassifierT, score_pooled, score_words
from ..layers.ulmfit_ensemble import ensemble_members, read_for_members
from ..modules.classifier import ULMFiTClassifier
from ..text import LMTokens, Vocabulary
from .classifier_encoder import (
    create_from_encoder,
    create_from_examples,
    load_encoder,
)
from .frozen_reader import FrozenReader
from .label_losses import exclusive_loss, multilabel_loss
from .labels import (
    ClassWeights,
    LabelCounts,
    check_known_labels,
    check_settings_of_labels,
    class_weights_of,
    count_labels,
    require_examples,
)
from .serialization import SafetensorsModel
from .source import SourceModel


class ULMFiTClassifierPipe(SafetensorsModel):
    """What the two components share: encoders, vocabulary, losses and layer groups.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], Floats2d]): A classifier, or an ensemble of two.
    name (str): The component's name.
    class_weights (Optional[Union[Dict[str, float], str]]): Weights of labels in the
        loss, or `"balanced"`.
    label_smoothing (float): Share of the truth that is spread over all labels.
    cache_mb (int): Room for what a frozen encoder reads, in megabytes; 0 for none.
    settings (Any): Further arguments are those of spaCy's component.
    """

    vocab: Any
    cfg: Dict[str, Any]
    multi_label: bool

    def __init__(
        self,
        vocab: Any,
        model: ClassifierT,
        name: str,
        *,
        class_weights: ClassWeights = None,
        label_smoothing: float = 0.0,
        cache_mb: int = 0,
        **settings: Any,
    ) -> None:
        super().__init__(vocab, model, name, **settings)  # type: ignore[call-arg]
        check_settings_of_labels(name, class_weights, label_smoothing)
        self.class_weights = class_weights
        self.label_smoothing = label_smoothing
        self._frozen_reader = FrozenReader(cache_mb)
        self.cfg["class_weights"] = {}
        for node in model.walk():
            node.attrs["multi_label"] = self.multi_label

    @property
    def members(self) -> Dict[str, ClassifierT]:
        """The classifiers: `"model"`, or `"forward"` and `"backward"`."""
        return ensemble_members(self.model)

    @property
    def shims(self) -> Dict[str, AWDLSTMShim]:
        """The shims that hold them and what belongs to them, by the same names."""
        return {
            name: cast(AWDLSTMShim, member.shims[0])
            for name, member in self.members.items()
        }

    @property
    def shim(self) -> AWDLSTMShim:
        """The shim of the only classifier, or of the one that reads forward."""
        return next(iter(self.shims.values()))

    @property
    def language_model(self) -> nn.Module:
        """The encoder's torch module, for use outside spaCy.

        Of two it is the one that reads forward.
        """
        return cast(ULMFiTClassifier, self.shim.module).encoder

    @property
    def vocabulary(self) -> Optional[Vocabulary]:
        """The words the encoder knows."""
        return self.shim.vocabulary

    def lm_tokens(self, doc: Doc) -> LMTokens:
        """Return the tokens the encoder reads for a document, as it does."""
        return self.shim.read(doc)

    @property
    def n_layer_groups(self) -> int:
        """Number of layer groups: embedding, each recurrent layer, head."""
        return len(self.shim.layer_groups)

    def set_trainable_groups(self, groups: TrainableGroups) -> None:
        """Let some layer groups learn: embedding, recurrent layers, head, in that order.

        groups (Union[int, Collection[int]]): How many groups learn, counted from the
            head, or the numbers of those that do, the embedding being 0.
        """
        for shim in self.shims.values():
            shim.set_trainable_groups(groups)

    def set_group_update(self, update: Optional[GroupUpdate]) -> None:
        """Give the next steps settings of their own.

        update (Optional[GroupUpdate]): The settings, until others are given; `None`
            for those of the optimizer.
        """
        for shim in self.shims.values():
            shim.set_group_update(update)

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Score documents, empty ones too.

        docs (Iterable[Doc]): The documents.
        RETURNS (Floats2d): `(n_docs, n_labels)`
        """
        docs = list(docs)
        if not docs:
            return self.model.ops.alloc2f(0, len(self.cfg["labels"]))
        return self.model.predict(docs)

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optional[Optimizer] = None,
        losses: Optional[Dict[str, float]] = None,
    ) -> Dict[str, float]:
        """Learn from a batch; each of two classifiers by its own loss.

        examples (Iterable[Example]): The batch.
        drop (float): Unused: dropouts are settings of the model.
        sgd (Optional[Optimizer]): The optimizer; without one the gradients are kept.
        losses (Optional[Dict[str, float]]): Gets the mean cross-entropy.
        RETURNS (Dict[str, float]): The losses.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "ULMFiTTextCategorizer.update")
        if not examples:
            return losses
        docs = [example.predicted for example in examples]
        for scores, backprop in self._begin_update(docs):
            loss, gradient = self.get_loss(examples, scores)
            backprop(gradient)
            losses[self.name] += loss / len(self.members)
        if sgd not in (None, False):
            self.finish_update(sgd)  # type: ignore[attr-defined]
        return losses

    def _begin_update(
        self, docs: List[Doc]
    ) -> Iterator[Tuple[Floats2d, Callable[[Floats2d], None]]]:
        """Yield scores and the callback of each classifier, one after the other."""
        members = self.members.values()
        if self._frozen_reader.applies(self.model):
            for member, pooled in zip(
                members, self._frozen_reader.read(self.model, docs)
            ):
                yield score_pooled(member, pooled)
        else:
            for member, documents in zip(members, read_for_members(self.model, docs)):
                yield score_words(member, documents, True)

    def get_loss(self, examples: Iterable[Example], scores: Any) -> Tuple[float, Any]:
        """Compute the cross-entropy and its gradient.

        Labels weigh as `class_weights` says, truths are smoothed by `label_smoothing`.
        A document without a true label takes no part if labels are exclusive; else a
        label that is missing in `doc.cats` takes none.

        examples (Iterable[Example]): The batch.
        scores (Floats2d): The model's scores.
        RETURNS (Tuple[float, Floats2d]): The mean loss of a document, and the gradient
            of their sum with respect to the logits.
        RAISES (ValueError): If an exclusive label is unknown.
        """
        examples = list(examples)
        validate_examples(examples, "ULMFiTTextCategorizer.get_loss")
        self._validate_categories(examples)  # type: ignore[attr-defined]
        ops, smoothing = self.model.ops, self.label_smoothing
        truths, known = self._examples_to_truth(examples)  # type: ignore[attr-defined]
        by_label = self.cfg["class_weights"]
        weights: Any = [by_label.get(label, 1.0) for label in self.cfg["labels"]]
        weights = ops.asarray(weights, dtype="float32")
        if self.multi_label:
            known = ops.asarray(known)
            return multilabel_loss(ops.xp, scores, truths, known, weights, smoothing)
        check_known_labels(self.name, self.cfg["labels"], examples)
        return exclusive_loss(ops.xp, scores, truths, weights, smoothing)

    def score(self, examples: Iterable[Example], **settings: Any) -> Dict[str, Any]:
        """Score predictions, as spaCy's component does.

        examples (Iterable[Example]): The examples.
        settings (Any): Settings of the scorer.
        RETURNS (Dict[str, Any]): The scores.
        RAISES (ValueError): If an exclusive label is unknown.
        """
        examples = list(examples)
        if not self.multi_label:
            check_known_labels(self.name, self.cfg["labels"], examples)
        return super().score(examples, **settings)  # type: ignore[misc]

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
        positive_label: Optional[str] = None,
        encoder: Optional[Union[str, Path]] = None,
        backward_encoder: Optional[Union[str, Path]] = None,
        max_vocab: int = 30000,
        min_freq: int = 1,
    ) -> None:
        """Set up labels, encoders and heads.

        A component that has weights keeps them, and gets to know more labels, unless an
        encoder is given.

        get_examples (Callable[[], Iterable[Example]]): Returns the training examples.
        nlp (Optional[Language]): The pipeline, whose language a new encoder reads.
        labels (Optional[Iterable[str]]): The labels; by default those of the examples.
        positive_label (Optional[str]): The positive one of two exclusive labels.
        encoder (Optional[Union[str, Path]]): Pipeline with the AWD-LSTM to start from,
            as `lm pretrain` and `lm finetune` write it. Without one the encoder starts
            from random weights and learns the words of the examples.
        backward_encoder (Optional[Union[str, Path]]): The same for the backward model
            of two.
        max_vocab (int): Most words of a new encoder, 0 for no limit.
        min_freq (int): Rarer words are unknown to a new encoder.
        RAISES (ValueError): If a label has no example, or an encoder does not fit.
        """
        sources = self._load_encoders(encoder, backward_encoder)
        counts = count_labels(get_examples())
        learnt = self.cfg["labels"] if self.shim.has_weights and not sources else []
        given = None if labels is None else list(labels)
        wanted = require_examples(self.name, given, counts, learnt)
        arguments: Dict[str, Any] = {"labels": wanted}
        if not self.multi_label:
            arguments["positive_label"] = positive_label
        elif positive_label is not None:
            raise ValueError(
                f"[initialize.components.{self.name}] positive_label = "
                f"'{positive_label}' has no meaning where several labels can be true. "
                "Take it out."
            )
        super().initialize(get_examples, nlp=nlp, **arguments)  # type: ignore[misc]
        self._weigh_classes(counts)
        for name, shim in self.shims.items():
            n_labels = len(self.cfg["labels"])
            if name in sources:
                create_from_encoder(shim, sources[name], n_labels)
            elif not shim.has_weights:
                create_from_examples(
                    shim,
                    get_examples(),
                    n_labels,
                    lang=self.vocab.lang if nlp is None else nlp.lang,
                    max_vocab=max_vocab,
                    min_freq=min_freq,
                )

    def _load_encoders(
        self,
        encoder: Optional[Union[str, Path]],
        backward_encoder: Optional[Union[str, Path]],
    ) -> Dict[str, SourceModel]:
        """Load the language models to start from, by the names of the members."""
        block = f"[initialize.components.{self.name}]"
        given = {"encoder": encoder, "backward_encoder": backward_encoder}
        paths = {name: path for name, path in given.items() if path is not None}
        if not paths:
            return {}
        if len(paths) != len(self.shims):
            raise ValueError(
                f"{block} has {' and '.join(paths)}, but the component has "
                f"{len(self.shims)} classifier{'s' if len(self.shims) > 1 else ''}. Give "
                "encoder alone for one, encoder and backward_encoder for "
                "spacy-elmo-ulmfit.ULMFiTEnsemble.v1."
            )
        return {
            name: load_encoder(shim, path, f"{block} {setting}")
            for (name, shim), (setting, path) in zip(self.shims.items(), paths.items())
        }

    def _weigh_classes(self, counts: LabelCounts) -> None:
        self.cfg["class_weights"] = class_weights_of(
            self.name,
            self.class_weights,
            self.cfg["labels"],
            counts,
            exclusive=not self.multi_label,
        )
