"""Language model and mix in one component, without a listener."""

from typing import Any, Callable, Dict, List, Tuple

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from .listener import find_config
from .types import LanguageModelT, MixT, Tok2VecT

_LISTENER = "spacy-elmo-ulmfit.ElmoListener.v1"
_TOK2VEC = "spacy-elmo-ulmfit.ElmoTok2Vec.v1"


@registry.architectures(_TOK2VEC)
def build_tok2vec(
    language_model: LanguageModelT, mix: MixT, frozen: bool = True
) -> Tok2VecT:
    """Build a `tok2vec` that owns its language model.

    This is also what a listener becomes when `nlp.replace_listeners` gives its
    component a copy of the upstream.

    language_model (Model[List[Doc], List[Floats3d]]): The language model.
    mix (Model[List[Floats3d], List[Floats2d]]): The mix of its layers.
    frozen (bool): Whether the language model keeps its weights.
    RETURNS (Model[List[Doc], List[Floats2d]]): `(n_tokens, width)` for each document.
    """
    return Model(
        "language_model_tok2vec",
        forward,
        init=init,
        layers=[language_model, mix],
        dims={"nO": language_model.get_dim("nO")},
        attrs={"frozen": frozen},
    )


def init(model: Tok2VecT, X: Any = None, Y: Any = None) -> Tok2VecT:
    """Initialize the mix; the language model brings its weights along."""
    model.layers[1].initialize()
    return model


def forward(
    model: Tok2VecT, docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Doc]]]:
    """Compute and mix the layers."""
    language_model, mix = model.layers
    learns = is_train and not model.attrs["frozen"]
    layers, backprop_layers = language_model(docs, learns)
    mixed, backprop_mix = mix(layers, is_train)

    def backprop(d_mixed: List[Floats2d]) -> List[Doc]:
        d_layers = backprop_mix(d_mixed)
        if learns:
            backprop_layers(d_layers)
        return docs

    return mixed, backprop


def replace_listener(model: LanguageModelT, listener: Tok2VecT, pipe: Any) -> Tok2VecT:
    """Build what takes a listener's place: a copy of the upstream, and the mix learnt."""
    return build_tok2vec(model, listener.layers[0].copy(), frozen=pipe.frozen)


def replace_listener_config(
    model_config: Dict[str, Any], listener_config: Dict[str, Any], *, frozen: bool
) -> Dict[str, Any]:
    """Return the config of what takes a listener's place.

    model_config (Dict[str, Any]): Config of the upstream's model.
    listener_config (Dict[str, Any]): Config of the component's `tok2vec`, with
        the listener somewhere in it.
    frozen (bool): Whether the upstream is frozen.
    RETURNS (Dict[str, Any]): The config block.
    """
    listener = find_config(listener_config, _LISTENER)
    if listener is None:
        raise ValueError(
            "replace_listeners found no block with @architectures = "
            f'"{_LISTENER}" below model.tok2vec.'
        )
    return {
        "@architectures": _TOK2VEC,
        "language_model": dict(model_config),
        "mix": dict(listener["mix"]),
        "frozen": frozen,
    }
