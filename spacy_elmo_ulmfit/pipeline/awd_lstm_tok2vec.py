"""The `awd_lstm_tok2vec` component."""

from typing import Optional, cast

from spacy.language import Language
from spacy.tokens import Doc

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.doc_layers import register_extension
from ..layers.types import LanguageModelT
from ..text import LMTokens
from .fingerprint import text_key
from .language_model import LanguageModelTok2Vec

DEFAULT_MODEL = {"@architectures": "spacy-elmo-ulmfit.AWDLSTM.v1"}


@Language.factory(
    "awd_lstm_tok2vec",
    assigns=["doc._.awd_lstm", "doc.tensor"],
    default_config={
        "model": DEFAULT_MODEL,
        "frozen": True,
        "cache_mb": 512,
        "cache_dir": None,
    },
)
def make_awd_lstm_tok2vec(
    nlp: Language,
    name: str,
    model: LanguageModelT,
    frozen: bool,
    cache_mb: int,
    cache_dir: Optional[str],
) -> "AWDLSTMTok2Vec":
    """Create the component that gives every token an AWD-LSTM's vectors.

    model (Model[List[Doc], List[Floats3d]]): The AWD-LSTM.
    frozen (bool): Whether it keeps its weights when the pipeline is trained.
    cache_mb (int): Room for its outputs between epochs while frozen, in megabytes.
    cache_dir (Optional[str]): Folder that keeps them for other runs; `null` for memory.
    """
    return AWDLSTMTok2Vec(
        nlp.vocab, model, name, frozen=frozen, cache_mb=cache_mb, cache_dir=cache_dir
    )


class AWDLSTMTok2Vec(LanguageModelTok2Vec):
    """An AWD-LSTM: sets `doc._.awd_lstm` and `doc.tensor`, and feeds its listeners.

    Arguments are those of `LanguageModelTok2Vec`.
    """

    attribute = "awd_lstm"

    @property
    def shim(self) -> AWDLSTMShim:
        """The shim that holds the AWD-LSTM and what belongs to it."""
        return cast(AWDLSTMShim, self.model.shims[0])

    def document_key(self, doc: Doc) -> bytes:
        """See `LanguageModelTok2Vec.document_key`."""
        return text_key(doc)

    def lm_tokens(self, doc: Doc) -> LMTokens:
        """Return the tokens the language model reads for a document, as it does."""
        return self.shim.read(doc)


register_extension(AWDLSTMTok2Vec.attribute)
