"""The `ulmfit_textcat` and `ulmfit_textcat_multilabel` components."""

from collections import Counter
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union, cast

import numpy
from spacy.language import Language
from spacy.pipeline.textcat import TextCategorizer
from spacy.pipeline.textcat_multilabel import MultiLabel_TextCategorizer
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from thinc.api import Model
from torch import nn

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.group_update import GroupUpdate
from ..layers.shim import TrainableGroups, check_settings
from ..layers.ulmfit_classifier import ClassifierT
from ..modules.classifier import ULMFiTClassifier
from ..text import LMTokenizer, LMTokens, Vocabulary
from .serialization import SafetensorsModel
from .source import SourceModel, load_language_model

DEFAULT_MODEL = {"@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1"}
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


@Language.factory(
    "ulmfit_textcat",
    assigns=["doc.cats"],
    default_config={
        "threshold": 0.0,
        "model": DEFAULT_MODEL,
        "scorer": {"@scorers": "spacy.textcat_scorer.v2"},
    },
    default_score_weights=_SCORE_WEIGHTS,
)
def make_ulmfit_textcat(
    nlp: Language, name: str, model: ClassifierT, threshold: float, scorer: Callable
) -> "ULMFiTTextCategorizer":
    """Create ULMFiT's classifier for exclusive labels.

    model (Model[List[Doc], Floats2d]): The classifier.
    threshold (float): Unused with exclusive labels.
    scorer (Callable): The scoring method.
    """
    return ULMFiTTextCategorizer(
        nlp.vocab, model, name, threshold=threshold, scorer=scorer
    )


@Language.factory(
    "ulmfit_textcat_multilabel",
    assigns=["doc.cats"],
    default_config={
        "threshold": 0.5,
        "model": DEFAULT_MODEL,
        "scorer": {"@scorers": "spacy.textcat_multilabel_scorer.v2"},
    },
    default_score_weights=_SCORE_WEIGHTS,
)
def make_ulmfit_textcat_multilabel(
    nlp: Language, name: str, model: ClassifierT, threshold: float, scorer: Callable
) -> "ULMFiTMultiLabelTextCategorizer":
    """Create ULMFiT's classifier for labels that do not exclude each other.

    model (Model[List[Doc], Floats2d]): The classifier.
    threshold (float): Score from which a label counts as predicted.
    scorer (Callable): The scoring method.
    """
    return ULMFiTMultiLabelTextCategorizer(
        nlp.vocab, model, name, threshold=threshold, scorer=scorer
    )


class ULMFiTClassifierPipe(SafetensorsModel):
    """What the two components share: encoder, vocabulary, loss and layer groups."""

    vocab: Any
    cfg: Dict[str, Any]
    multi_label: bool

    @property
    def shim(self) -> AWDLSTMShim:
        """The shim that holds the classifier and what belongs to it."""
        return cast(AWDLSTMShim, self.model.shims[0])

    @property
    def language_model(self) -> nn.Module:
        """The encoder's torch module, for use outside spaCy."""
        module = self.shim.module
        assert isinstance(module, ULMFiTClassifier)
        return module.encoder

    @property
    def vocabulary(self) -> Optional[Vocabulary]:
        """The words the encoder knows."""
        return self.shim.vocabulary

    def lm_tokens(self, doc: Doc) -> LMTokens:
        """Return the tokens the encoder reads for a document, as it does."""
        return self.shim.read(doc)

    @property
    def n_layer_groups(self) -> int:
        """Number of layer groups: embedding, each LSTM layer, head."""
        return len(self.shim.layer_groups)

    def set_trainable_groups(self, groups: TrainableGroups) -> None:
        """Let some layer groups learn: embedding, LSTM layers, head, in that order.

        groups (Union[int, Collection[int]]): How many groups learn, counted from the
            head, or the numbers of those that do, the embedding being 0.
        """
        self.shim.set_trainable_groups(groups)

    def set_group_update(self, update: Optional[GroupUpdate]) -> None:
        """Give the next steps settings of their own.

        update (Optional[GroupUpdate]): The settings, until others are given; `None`
            for those of the optimizer.
        """
        self.shim.set_group_update(update)

    def predict(self, docs: Iterable[Doc]) -> Any:
        """Score documents, empty ones too.

        docs (Iterable[Doc]): The documents.
        RETURNS (Floats2d): `(n_docs, n_labels)`
        """
        docs = list(docs)
        if not docs:
            return self.model.ops.alloc2f(0, len(self.cfg["labels"]))
        return self.model.predict(docs)

    def get_loss(self, examples: Iterable[Example], scores: Any) -> Tuple[float, Any]:
        """Compute the mean cross-entropy and its gradient.

        examples (Iterable[Example]): The batch.
        scores (Floats2d): The model's scores.
        RETURNS (Tuple[float, Floats2d]): The loss, and `scores - truth`, which the
            model takes as the gradient of the summed loss.
        """
        examples = list(examples)
        validate_examples(examples, "ULMFiTTextCategorizer.get_loss")
        self._validate_categories(examples)  # type: ignore[attr-defined]
        truths, known = self._examples_to_truth(examples)  # type: ignore[attr-defined]
        known = self.model.ops.asarray(known)
        xp: Any = self.model.ops.xp
        tiny = numpy.finfo("float32").tiny
        losses = truths * xp.log(scores + tiny)
        if self.multi_label:
            losses = losses + (1 - truths) * xp.log(1 - scores + tiny)
        loss = -float((losses * known).sum()) / max(1, len(examples))
        return loss, (scores - truths) * known

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        labels: Optional[Iterable[str]] = None,
        positive_label: Optional[str] = None,
        encoder: Optional[Union[str, Path]] = None,
        max_vocab: int = 30000,
        min_freq: int = 1,
    ) -> None:
        """Set up labels, encoder and head.

        get_examples (Callable[[], Iterable[Example]]): Returns the training examples.
        nlp (Optional[Language]): The pipeline, whose language a new encoder reads.
        labels (Optional[Iterable[str]]): The labels; by default those of the examples.
        positive_label (Optional[str]): The positive one of two exclusive labels.
        encoder (Optional[Union[str, Path]]): Pipeline with the AWD-LSTM to start from,
            as `lm pretrain` and `lm finetune` write it. Without one the encoder starts
            from random weights and learns the words of the examples.
        max_vocab (int): Most words of a new encoder, 0 for no limit.
        min_freq (int): Rarer words are unknown to a new encoder.
        RAISES (ValueError): If a label has no example, or the encoder does not fit.
        """
        source = None if encoder is None else load_language_model(encoder, "awd_lstm")
        if labels is not None:
            labels = list(labels)
            self._require_examples_of(labels, get_examples)
        arguments: Dict[str, Any] = {"labels": labels}
        if not self.multi_label:
            arguments["positive_label"] = positive_label
        super().initialize(get_examples, nlp=nlp, **arguments)  # type: ignore[misc]
        if source is None:
            lang = self.vocab.lang if nlp is None else nlp.lang
            tokenizer = self.shim.create_tokenizer(lang)
            self._create(count_words(get_examples(), tokenizer, max_vocab, min_freq))
        else:
            self._create_from(source, str(encoder))

    def _require_examples_of(
        self, labels: List[str], get_examples: Callable[[], Iterable[Example]]
    ) -> None:
        seen = {
            label
            for example in get_examples()
            for label, value in example.reference.cats.items()
            if value
        }
        missing = [label for label in labels if label not in seen]
        if missing:
            raise ValueError(
                f"No training example has the label {', '.join(map(repr, missing))} of "
                f"[initialize.components.{self.name}] labels. Add examples, or take it "
                f"out. The examples have: {', '.join(sorted(seen))}."
            )

    def _create(self, vocabulary: Vocabulary) -> ULMFiTClassifier:
        settings = self.shim.settings
        encoder = {**settings["encoder"], "n_words": len(vocabulary)}
        module = self.shim.create(
            vocabulary, n_labels=len(self.cfg["labels"]), encoder=encoder
        )
        assert isinstance(module, ULMFiTClassifier)
        return module

    def _create_from(self, source: SourceModel, path: str) -> None:
        found = source.checkpoint()
        expected = self.shim.settings["encoder"]
        sizes = ("embedding_dim", "hidden_dim", "n_layers", "rnn", "direction")
        check_settings(
            {name: expected[name] for name in sizes}, found.settings, source=path
        )
        assert source.vocabulary is not None
        self.shim.set_tokenizer(cast(AWDLSTMShim, source.shim).tokenizer)
        module = self._create(source.vocabulary)
        state = {
            name: tensor
            for name, tensor in found.state.items()
            if name != "decoder_bias"
        }
        module.encoder.load_state_dict(state)


class ULMFiTTextCategorizer(ULMFiTClassifierPipe, TextCategorizer):
    """ULMFiT's classifier for exclusive labels.

    Arguments are those of spaCy's `TextCategorizer`.
    """

    multi_label = False


class ULMFiTMultiLabelTextCategorizer(ULMFiTClassifierPipe, MultiLabel_TextCategorizer):
    """ULMFiT's classifier for labels that do not exclude each other.

    Arguments are those of spaCy's `MultiLabel_TextCategorizer`.
    """

    multi_label = True

    def __init__(self, vocab: Any, model: Model, name: str, **settings: Any) -> None:
        super().__init__(vocab, model, name, **settings)
        model.attrs["multi_label"] = True


def count_words(
    examples: Iterable[Example], tokenizer: LMTokenizer, max_vocab: int, min_freq: int
) -> Vocabulary:
    """Build the vocabulary of a new encoder from training examples."""
    counts: Counter = Counter()
    for example in examples:
        counts.update(tokenizer(example.reference).words)
    return Vocabulary.build(
        counts,
        specials=tokenizer.specials,
        unknown=tokenizer.unknown,
        max_size=max_vocab,
        min_freq=min_freq,
    )
