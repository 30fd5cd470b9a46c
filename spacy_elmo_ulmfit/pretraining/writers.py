"""Language models of both kinds as what text generation asks of one."""

from typing import Any, List, Protocol, Sequence, Tuple, cast

from spacy.tokens import Doc
from torch import Tensor

from ..checkpoints.word_lists import is_filler
from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.bilm_shim import NO_SOFTMAX, BiLMShim
from ..layers.shim import LanguageModelShim
from ..layers.types import LanguageModelT
from ..modules.awd_lstm import AWDLSTM, BACKWARD, map_state
from ..modules.generation import NextWordModel, Prompt
from ..text import BEGIN_SENTENCE, END_SENTENCE, Vocabulary
from ..text.sequences import SequenceKind
from .corpus.stream import bilm_words


class Writer(NextWordModel, Protocol):
    """A language model with what it reads and writes.

    vocabulary (Vocabulary): The words it may write.
    unknown (Sequence[str]): Those that stand for others.
    silent (Sequence[str]): Those that are never written.
    ends (Sequence[str]): Those that end a text.
    marks (Sequence[str]): Those that are no words of a text.
    """

    vocabulary: Vocabulary
    unknown: Sequence[str]
    silent: Sequence[str]
    ends: Sequence[str]
    marks: Sequence[str]

    def start(self, doc: Doc) -> Prompt:
        """Read a document to go on from."""

    def decode(self, words: Sequence[str]) -> str:
        """Return the text of words."""


class AWDLSTMWriter:
    """An AWD-LSTM that reads forward, with its decoder.

    shim (AWDLSTMShim): The language model.
    """

    def __init__(self, shim: AWDLSTMShim) -> None:
        self.shim, self.module = shim, cast(AWDLSTM, shim.module)
        self.vocabulary = cast(Vocabulary, shim.vocabulary)
        markers = shim.tokenizer.markers
        self.unknown: Sequence[str] = markers.unknown
        fillers = [word for word in self.vocabulary.words if is_filler(word)]
        self.silent: Sequence[str] = [*markers.silent, *fillers]
        self.ends: Sequence[str] = markers.ends
        self.marks: Sequence[str] = markers.announcing

    def start(self, doc: Doc) -> Prompt:
        """See `Writer.start`."""
        ids, _ = self.shim.word_ids([self.shim.words_of(doc)])
        state = self.module.zero_state(1)
        if len(ids) > 1:
            state = self.module.encode(ids[None, :-1], state).state
        return Prompt(ids.tolist(), *self.read(ids[-1:], state))

    def read(self, ids: Tensor, state: Any) -> Tuple[Tensor, Any]:
        """See `NextWordModel.read`."""
        logits, _, state = self.module(ids.unsqueeze(1), state)
        return logits[:, 0].log_softmax(dim=1), state

    def select(self, state: Any, rows: Tensor) -> Any:
        """See `NextWordModel.select`."""

        def of_rows(part: Tensor) -> Tensor:
            return part.index_select(1, rows)

        return map_state(state, of_rows)

    def decode(self, words: Sequence[str]) -> str:
        """See `Writer.decode`."""
        return self.shim.tokenizer.decode(words).strip()


class BiLMWriter:
    """The forward direction of a biLM; sentences follow each other as in training.

    shim (BiLMShim): The language model.
    sequences (str): What a sequence of a prompt is; see `token_sequences`.
    """

    ends: Sequence[str] = ()
    marks: Sequence[str] = (END_SENTENCE,)
    silent: Sequence[str] = (BEGIN_SENTENCE,)

    def __init__(self, shim: BiLMShim, sequences: SequenceKind) -> None:
        self.shim, self.module, self.sequences = shim, shim.bilm, sequences
        self.vocabulary = cast(Vocabulary, shim.vocabulary)
        self.unknown: Sequence[str] = (self.vocabulary.unknown,)

    def start(self, doc: Doc) -> Prompt:
        """See `Writer.start`."""
        words = list(bilm_words(doc, self.sequences)) or [BEGIN_SENTENCE]
        # What is read as the boundary has been predicted as the end of a sentence.
        boundaries = {BEGIN_SENTENCE: END_SENTENCE}
        ids = self.vocabulary.ids(boundaries.get(word, word) for word in words)
        state = self.module.initial_state(1, "warm").forward
        return Prompt(ids, *self._read(words, state, n_texts=1))

    def read(self, ids: Tensor, state: Any) -> Tuple[Tensor, Any]:
        """See `NextWordModel.read`."""
        words = [self.vocabulary.words[i] for i in ids.tolist()]
        return self._read(words, state, n_texts=len(words))

    def _read(self, words: List[str], state: Any, n_texts: int) -> Tuple[Tensor, Any]:
        begin = self.shim.indexer.begin
        boundaries = {BEGIN_SENTENCE: begin, END_SENTENCE: begin}
        read = [boundaries.get(word, word) for word in words]
        rows = {word: row for row, word in enumerate(dict.fromkeys(read))}
        vectors = self.shim.encode_words(list(rows))[[rows[word] for word in read]]
        outputs, state = self.module.read_forward(
            vectors.view(n_texts, -1, vectors.shape[1]), state
        )
        return self.module.logits(outputs[:, -1]).log_softmax(dim=1), state

    def select(self, state: Any, rows: Tensor) -> Any:
        """See `NextWordModel.select`."""
        return self.module.select_rows(state, rows)

    def decode(self, words: Sequence[str]) -> str:
        """See `Writer.decode`."""
        return " ".join(word for word in words if word not in self.marks)


def create_writer(model: LanguageModelT) -> Writer:
    """Set a language model up for writing.

    model (Model): The model of a component.
    RETURNS (Writer): The language model, without dropout.
    RAISES (ValueError): If it reads backward, or predicts no words.
    """
    shim = cast(LanguageModelShim, model.shims[0])
    shim.module.eval()
    if isinstance(shim, AWDLSTMShim):
        if shim.direction == BACKWARD:
            raise ValueError(
                "This AWD-LSTM reads text from its end, so it cannot go on with one. "
                "Take a forward model."
            )
        if not cast(AWDLSTM, shim.module).config.decoder:
            raise ValueError(
                "This AWD-LSTM has no decoder, so it predicts no words. Import weights "
                "of a whole language model, not of its encoder alone."
            )
        return AWDLSTMWriter(shim)
    bilm_shim = cast(BiLMShim, shim)
    if bilm_shim.bilm.head is None or shim.vocabulary is None:
        raise ValueError(NO_SOFTMAX)
    return BiLMWriter(bilm_shim, model.attrs.get("sequences", "sents"))
