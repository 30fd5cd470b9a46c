"""Language model and mix in one component, without a listener."""

from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple

from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.types import Floats2d

from .readout import (
    build_readout,
    language_model_alignment,
    read_out,
    readout_width,
)
from .types import LanguageModelT, MixT, Tok2VecT

_LISTENER = "spacy-elmo-ulmfit.ElmoListener.v1"
_TOK2VEC = "spacy-elmo-ulmfit.ElmoTok2Vec.v1"
_NAME = "language_model_tok2vec"


@registry.architectures(_TOK2VEC)
def build_tok2vec(
    language_model: LanguageModelT,
    mix: MixT,
    frozen: bool = True,
    projection: Optional[int] = None,
    grad_factor: float = 1.0,
) -> Tok2VecT:
    """Build a `tok2vec` that owns its language model.

    This is also what a listener becomes when `nlp.replace_listeners` gives its
    component a copy of the upstream.

    language_model (Model[List[Doc], List[Floats3d]]): The language model.
    mix (Model[List[Floats3d], List[Floats2d]]): The mix of its layers.
    frozen (bool): Whether the language model keeps its weights.
    projection (Optional[int]): Width of a linear layer after the mix, with a bias;
        `null` for none.
    grad_factor (float): Factor of the gradient that goes to the language model; has
        no effect while that is frozen.
    RETURNS (Model[List[Doc], List[Floats2d]]): For each document `(n_tokens, width)`,
        `(n_tokens, n_layers * width)` if the mix has `layers = "concat"`, or
        `(n_tokens, projection)`.
    """
    readout = build_readout(mix, language_model.get_dim("nO"), projection)
    return _assemble(language_model, readout, frozen, grad_factor)


def _assemble(
    language_model: LanguageModelT,
    readout: Sequence[Model],
    frozen: bool,
    grad_factor: float,
) -> Tok2VecT:
    return Model(
        _NAME,
        forward,
        init=init,
        layers=[language_model, *readout],
        dims={"nO": readout_width(readout, language_model.get_dim("nO"))},
        attrs={"frozen": frozen, "grad_factor": grad_factor},
    )


def is_tok2vec(model: Model) -> bool:
    """Whether a node of a model is one of these."""
    return model.name == _NAME


def init(model: Tok2VecT, X: Any = None, Y: Any = None) -> Tok2VecT:
    """Initialize all but the language model, which brings its weights along."""
    for layer in model.layers[1:]:
        layer.initialize()
    return model


def forward(
    model: Tok2VecT, docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Doc]]]:
    """Compute and read the layers."""
    language_model, *readout = model.layers
    learns = is_train and not model.attrs["frozen"]
    layers, backprop_language_model = language_model(docs, learns)
    alignment = language_model_alignment(language_model)
    vectors, backprop_layers = read_out(readout, docs, layers, alignment, is_train)

    def backprop(d_vectors: List[Floats2d]) -> List[Doc]:
        d_layers = backprop_layers(d_vectors)
        if learns:
            factor = model.attrs["grad_factor"]
            backprop_language_model([gradient * factor for gradient in d_layers])
        return docs

    return vectors, backprop


def replace_listener(model: LanguageModelT, listener: Tok2VecT, pipe: Any) -> Tok2VecT:
    """Build what takes a listener's place: a copy of the upstream, and what it learnt."""
    readout = [layer.copy() for layer in listener.layers]
    return _assemble(model, readout, pipe.frozen, listener.attrs["grad_factor"])


def replace_listener_config(
    model_config: Dict[str, Any],
    listener_config: Dict[str, Any],
    *,
    upstream: str,
    frozen: bool,
) -> Dict[str, Any]:
    """Return the config of what takes a listener's place.

    model_config (Dict[str, Any]): Config of the upstream's model.
    listener_config (Dict[str, Any]): Config of the component's `tok2vec`, with
        the listener somewhere in it. spaCy does not say which one is meant, so of
        several listeners the first in the config is the first to be replaced.
    upstream (str): Name of the upstream.
    frozen (bool): Whether the upstream is frozen.
    RETURNS (Dict[str, Any]): The config block.
    """
    listener = _find_listener(listener_config, upstream)
    if listener is None:
        raise ValueError(
            "replace_listeners found no block with @architectures = "
            f'"{_LISTENER}" and upstream = "{upstream}" below model.tok2vec.'
        )
    return {
        "@architectures": _TOK2VEC,
        "language_model": dict(model_config),
        "mix": dict(listener["mix"]),
        "frozen": frozen,
        "projection": listener.get("projection"),
        "grad_factor": listener.get("grad_factor", 1.0),
    }


def _find_listener(config: Dict[str, Any], upstream: str) -> Optional[Dict[str, Any]]:
    """Find the block of a listener to a component in a nested config, or `None`."""
    if config.get("@architectures") == _LISTENER:
        # A config that nobody filled in may leave the default out.
        waits_for = config.get("upstream", "elmo_tok2vec")
        return config if waits_for in ("*", upstream) else None
    blocks = [value for value in config.values() if isinstance(value, dict)]
    found = (_find_listener(block, upstream) for block in blocks)
    return next((block for block in found if block is not None), None)
