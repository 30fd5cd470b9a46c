"""The `elmo_tok2vec` component."""

from typing import List, Optional, cast

from spacy.language import Language
from spacy.tokens import Doc

from ..layers.bilm_shim import BiLMShim
from ..layers.carried_state import CARRIED, CarriedState
from ..layers.doc_layers import register_extension
from ..layers.substitutes import Substitutes, find_substitutes
from ..layers.types import LanguageModelT
from .fingerprint import words_key
from .language_model import LanguageModelTok2Vec

DEFAULT_MODEL = {"@architectures": "spacy-elmo-ulmfit.BiLM.v1"}


@Language.factory(
    "elmo_tok2vec",
    assigns=["doc._.elmo", "doc.tensor"],
    default_config={
        "model": DEFAULT_MODEL,
        "frozen": True,
        "cache_mb": 512,
        "cache_dir": None,
    },
)
def make_elmo_tok2vec(
    nlp: Language,
    name: str,
    model: LanguageModelT,
    frozen: bool,
    cache_mb: int,
    cache_dir: Optional[str],
) -> "ElmoTok2Vec":
    """Create the component that gives every token ELMo's layers.

    model (Model[List[Doc], List[Floats3d]]): The biLM.
    frozen (bool): Whether the biLM keeps its weights when the pipeline is trained.
    cache_mb (int): Room for a frozen biLM's outputs between epochs, in megabytes.
    cache_dir (Optional[str]): Folder that keeps them for other runs; `null` for memory.
    """
    return ElmoTok2Vec(
        nlp.vocab, model, name, frozen=frozen, cache_mb=cache_mb, cache_dir=cache_dir
    )


class ElmoTok2Vec(LanguageModelTok2Vec):
    """ELMo's biLM: sets `doc._.elmo` and `doc.tensor`, and feeds its listeners.

    Arguments are those of `LanguageModelTok2Vec`.
    """

    attribute = "elmo"

    @property
    def shim(self) -> BiLMShim:
        """The shim that holds the biLM and what belongs to it."""
        return cast(BiLMShim, self.model.shims[0])

    def document_key(self, doc: Doc) -> bytes:
        """See `LanguageModelTok2Vec.document_key`."""
        return words_key(doc, self.model.attrs["sequences"])

    def substitutes(self, doc: Doc, n: int = 10) -> List[Optional[Substitutes]]:
        """Return words that the language model expects in the place of each token.

        doc (Doc): The document; its tokens need no vectors yet.
        n (int): Number of words, the likeliest first.
        RETURNS (List[Optional[Substitutes]]): One for each token, `None` for white
            space.
        RAISES (ValueError): If the biLM has no softmax, as the published ones.
        """
        return find_substitutes(self.model, doc, n)

    def reset_state(self) -> None:
        """Forget the carried state: with `initial_state = "carry"`, begin anew."""
        self.model.attrs[CARRIED] = CarriedState()


register_extension(ElmoTok2Vec.attribute)
