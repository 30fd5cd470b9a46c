"""The shim of an AWD-LSTM, or of a classifier on one: its weights and how it reads text."""

from itertools import chain
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from spacy.tokens import Doc
from torch import Tensor

from ..checkpoints.native import Checkpoint
from ..modules.awd_lstm import AWDLSTM, BACKWARD
from ..text import LMTokenizer, LMTokens, create_lm_tokenizer, read_lm_tokenizer
from .shim import LanguageModelShim

_TOKENIZER = "tokenizer"


class AWDLSTMShim(LanguageModelShim):
    """An AWD-LSTM, alone or under a classifier, with its tokenizer.

    tokens (str): Rules by which a new model reads text; weights bring their own.
    settings (Any): Further arguments are those of `LanguageModelShim`.
    """

    def __init__(self, *, tokens: str, **settings: Any) -> None:
        super().__init__(**settings)
        self.tokens = tokens
        self._tokenizer: Optional[LMTokenizer] = None

    @property
    def tokenizer(self) -> LMTokenizer:
        """How text is read; an error when there are no weights yet."""
        if self._tokenizer is None:
            raise ValueError(self.no_weights)
        return self._tokenizer

    @property
    def direction(self) -> str:
        """Whether text is read `"forward"` or `"backward"`."""
        return self.settings.get("encoder", self.settings)["direction"]

    @property
    def layer_groups(self) -> List[Tuple[str, ...]]:
        """See `TorchShim.layer_groups`.

        The embedding is at the bottom: a task has no new words to learn, unlike the
        fine-tuning of a language model.
        """
        groups = super().layer_groups
        return [groups[-1], *groups[:-1]] if self.kind == AWDLSTM.kind else groups

    def set_tokenizer(self, tokenizer: LMTokenizer) -> None:
        """Read text in another way, that of the weights.

        tokenizer (LMTokenizer): The tokenizer.
        """
        self._tokenizer = tokenizer

    def create_tokenizer(self, lang: Optional[str]) -> LMTokenizer:
        """Set up the tokenizer of a new model.

        lang (Optional[str]): Code of the language, `None` for any.
        RETURNS (LMTokenizer): The tokenizer, by the rules that the config names.
        """
        self.set_tokenizer(create_lm_tokenizer(self.tokens, lang or "xx"))
        return self.tokenizer

    def read(self, doc: Doc) -> LMTokens:
        """Return what the language model reads of a document, in the order it does.

        doc (Doc): The document.
        RETURNS (LMTokens): The tokens; a backward model has the last one first.
        """
        tokens = self.tokenizer(doc)
        return tokens.reversed() if self.direction == BACKWARD else tokens

    def words_of(self, doc: Doc) -> List[str]:
        """Return the words of `read` alone.

        doc (Doc): The document.
        RETURNS (List[str]): The words in the order they are read.
        """
        words = self.tokenizer.words(doc)
        return words[::-1] if self.direction == BACKWARD else words

    def reads_as(self, other: "AWDLSTMShim") -> bool:
        """Tell whether another model has the same token rules.

        other (AWDLSTMShim): The other one; its direction does not matter.
        RETURNS (bool): Whether both make the same words of any text.
        """
        own, theirs = self.tokenizer.tensors(), other.tokenizer.tensors()
        return (
            self.tokenizer.to_json() == other.tokenizer.to_json()
            and own.keys() == theirs.keys()
            and all(torch.equal(own[name], theirs[name]) for name in own)
        )

    def word_ids(self, documents: Sequence[Sequence[str]]) -> Tuple[Tensor, List[int]]:
        """Number the words of documents.

        documents (Sequence[Sequence[str]]): The words of each.
        RETURNS (Tuple[Tensor, List[int]]): Ids, the documents one after another,
            `(n_words,)`, and the number of words of each document.
        """
        if self.vocabulary is None:
            raise ValueError(f"This {self.kind} has no vocabulary to number words by.")
        ids = self.vocabulary.ids(chain.from_iterable(documents))
        numbers = torch.tensor(ids, dtype=torch.long, device=self.device)
        return numbers, [len(words) for words in documents]

    def checkpoint(self) -> Checkpoint:
        """See `LanguageModelShim.checkpoint`."""
        checkpoint = super().checkpoint()
        checkpoint.extra[_TOKENIZER] = self.tokenizer.to_json()
        checkpoint.extra_tensors.update(self.tokenizer.tensors())
        return checkpoint

    def load(self, checkpoint: Checkpoint, *, source: str = "the weights") -> None:
        """See `LanguageModelShim.load`."""
        super().load(checkpoint, source=source)
        data: Optional[Dict[str, Any]] = checkpoint.extra.get(_TOKENIZER)
        self.set_tokenizer(read_lm_tokenizer(data, checkpoint.extra_tensors))
