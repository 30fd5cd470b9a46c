"""What the components of a pipeline have learnt about a language model's layers."""

from typing import Callable, Iterator, List, NamedTuple, Optional, Tuple

from spacy.language import Language
from spacy.util import registry
from thinc.api import Model
from wasabi import Printer

from ..layers.listener import is_listener, listener_state
from ..layers.scalar_mix import learns_shares, mix_weights
from ..layers.tok2vec import is_tok2vec

META_KEY = "spacy_elmo_ulmfit"
LINE_MAX = 1000


class LearntMix(NamedTuple):
    """The weights of one mix.

    component (str): Name of the component it belongs to.
    upstream (Optional[str]): Name of the language model's component; `None` where
        the component owns its language model.
    shares (List[float]): Share of each layer, the token layer first; they sum to 1.
    gamma (float): Scale of the sum.
    """

    component: str
    upstream: Optional[str]
    shares: List[float]
    gamma: float

    def __str__(self) -> str:
        upstream = self.upstream or "its own language model"
        shares = " ".join(f"{share:.3f}" for share in self.shares)
        return f"{self.component} mixes {upstream}: {shares}, gamma {self.gamma:.3f}"


def mixes(nlp: Language) -> List[LearntMix]:
    """Return the weights of all mixes in a pipeline, in its order.

    nlp (Language): The pipeline.
    RETURNS (List[LearntMix]): One for each listener and each `ElmoTok2Vec` whose mix
        has weights, which is so for `layers = "mix"` only.
    """
    return [
        LearntMix(name, upstream, *mix_weights(mix))
        for name, pipe in nlp.components
        for upstream, mix in _component_mixes(getattr(pipe, "model", None))
        if learns_shares(mix)
    ]


@registry.callbacks("spacy-elmo-ulmfit.mix_report.v1")
def create_mix_report() -> Callable[[Language], Language]:
    """Print the weights of all mixes, and keep them in the pipeline's meta.

    spaCy saves a pipeline, and so calls this, after each evaluation, under the
    averaged weights if there are any. Lines are printed when they have changed.

    RETURNS (Callable): A callback for `[training.before_to_disk]`. It writes
        `nlp.meta["spacy_elmo_ulmfit"]["mixes"]`.
    """
    # A mix stays on one line, however long.
    msg = Printer(line_max=LINE_MAX)
    printed: List[str] = []

    def before_to_disk(nlp: Language) -> Language:
        found = mixes(nlp)
        nlp.meta.setdefault(META_KEY, {})["mixes"] = [mix._asdict() for mix in found]
        lines = [str(mix) for mix in found]
        if lines != printed:
            printed[:] = lines
            for line in lines:
                msg.info(line)
        return nlp

    return before_to_disk


def _component_mixes(model: object) -> Iterator[Tuple[Optional[str], Model]]:
    """Yield the mixes in a component's model, each with the name of its upstream."""
    if not isinstance(model, Model):
        return
    for node in model.walk():
        if is_listener(node):
            yield listener_state(node).source or node.attrs["upstream"], node.layers[0]
        elif is_tok2vec(node):
            yield None, node.layers[1]
