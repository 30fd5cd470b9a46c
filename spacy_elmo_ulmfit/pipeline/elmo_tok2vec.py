"""The `elmo_tok2vec` component."""

from spacy.language import Language

from ..layers.carried_state import CARRIED, CarriedState
from ..layers.doc_layers import register_extension
from ..layers.types import LanguageModelT
from .language_model import LanguageModelTok2Vec

DEFAULT_MODEL = {"@architectures": "spacy-elmo-ulmfit.BiLM.v1"}


@Language.factory(
    "elmo_tok2vec",
    assigns=["doc._.elmo", "doc.tensor"],
    default_config={"model": DEFAULT_MODEL, "frozen": True, "cache_mb": 512},
)
def make_elmo_tok2vec(
    nlp: Language, name: str, model: LanguageModelT, frozen: bool, cache_mb: int
) -> "ElmoTok2Vec":
    """Create the component that gives every token ELMo's layers.

    model (Model[List[Doc], List[Floats3d]]): The biLM.
    frozen (bool): Whether the biLM keeps its weights when the pipeline is trained.
    cache_mb (int): Memory for a frozen biLM's outputs between epochs, in megabytes.
    """
    return ElmoTok2Vec(nlp.vocab, model, name, frozen=frozen, cache_mb=cache_mb)


class ElmoTok2Vec(LanguageModelTok2Vec):
    """ELMo's biLM: sets `doc._.elmo` and `doc.tensor`, and feeds its listeners.

    Arguments are those of `LanguageModelTok2Vec`.
    """

    attribute = "elmo"

    def reset_state(self) -> None:
        """Forget the carried state: with `initial_state = "carry"`, begin anew."""
        self.model.attrs[CARRIED] = CarriedState()


register_extension(ElmoTok2Vec.attribute)
