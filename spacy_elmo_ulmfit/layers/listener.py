"""The layer by which a component reads the vectors of a language model upstream."""

import weakref
from dataclasses import dataclass, field
from typing import (
    Any,
    Callable,
    Dict,
    Hashable,
    List,
    Optional,
    Protocol,
    Sequence,
    Tuple,
    cast,
)

import numpy
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import Model
from thinc.model import deserialize_attr, serialize_attr
from thinc.types import Floats2d, Floats3d
from torch import Tensor

from .doc_layers import get_doc_boundaries, get_doc_layers
from .readout import build_readout, read_out, readout_width
from .types import DocLayers, MixT, Tok2VecT

STATE = "spacy_elmo_ulmfit_listener"


class Upstream(Protocol):
    """What a listener needs of the component it listens to."""

    name: str

    @property
    def alignment(self) -> Optional[Tensor]:
        """What mixed vectors are multiplied by, `(width, width)`, or `None`."""

    def predict_cached(self, docs: Sequence[Doc]) -> DocLayers:
        """Compute the layers of documents that do not come with any."""


@dataclass
class ListenerState:
    """What a listener knows of its upstream component; never stored.

    source (Optional[str]): Name of the component it is linked to.
    reference (Optional[weakref.ref]): That component.
    batch (Optional[Hashable]): Which batch `outputs` belong to.
    outputs (Optional[DocLayers]): The upstream's layers for that batch.
    backprop (Optional[Callable]): Takes the gradient of `outputs`.
    initializing (bool): Whether the component was initialised but not trained yet:
        thinc then runs it on documents without vectors to infer widths.
    copied_alignment (Optional[Tensor]): The upstream's matrix, in a copy, which has
        no upstream.
    """

    source: Optional[str] = None
    reference: Optional["weakref.ReferenceType[Upstream]"] = None
    batch: Optional[Hashable] = None
    outputs: DocLayers = field(default_factory=list)
    backprop: Optional[Callable[[DocLayers], None]] = None
    initializing: bool = False
    copied_alignment: Optional[Tensor] = None

    def __getstate__(self) -> Dict[str, Any]:
        # Copies and other processes keep what prediction needs, not the batch.
        return {
            **vars(ListenerState()),
            "source": self.source,
            "copied_alignment": self.alignment,
        }

    def link(self, upstream: Upstream) -> None:
        """Listen to a component."""
        self.source, self.reference = upstream.name, weakref.ref(upstream)

    @property
    def upstream(self) -> Optional[Upstream]:
        """The component it is linked to, unless this is a copy."""
        return None if self.reference is None else self.reference()

    @property
    def alignment(self) -> Optional[Tensor]:
        """The upstream's alignment matrix, or `None`."""
        upstream = self.upstream
        return self.copied_alignment if upstream is None else upstream.alignment

    def receive(
        self,
        docs: Sequence[Doc],
        outputs: DocLayers,
        backprop: Optional[Callable[[DocLayers], None]],
    ) -> None:
        """Take the upstream's layers for a training batch.

        docs (Sequence[Doc]): The batch.
        outputs (List[Floats3d]): `(n_layers, n_rows, width)` for each document.
        backprop (Optional[Callable]): Takes their gradient; `None` when frozen.
        """
        self.batch = batch_key(docs)
        self.outputs = outputs
        self.backprop = backprop
        self.initializing = False


@serialize_attr.register(ListenerState)
def _serialize_state(_: Any, value: ListenerState, name: str, model: Model) -> bytes:
    return b""


@deserialize_attr.register(ListenerState)
def _deserialize_state(_: Any, value: bytes, name: str, model: Model) -> ListenerState:
    return ListenerState()


def batch_key(docs: Sequence[Doc]) -> Hashable:
    """Identify a batch of documents by their words, in order."""
    return tuple(doc.to_array("ORTH").tobytes() for doc in docs)


@registry.architectures("spacy-elmo-ulmfit.ElmoListener.v1")
def build_listener(
    mix: MixT,
    width: int,
    upstream: str = "elmo_tok2vec",
    grad_factor: float = 1.0,
    projection: Optional[int] = None,
) -> Tok2VecT:
    """Build the `tok2vec` of a component that reads a language model's vectors.

    mix (Model[List[Floats3d], List[Floats2d]]): The component's own mix of layers.
    width (int): Width of the language model's layers.
    upstream (str): Name of the language model's component, or `"*"` for any.
    grad_factor (float): Factor of the gradient that goes back to the language
        model; has no effect while that is frozen.
    projection (Optional[int]): Width of a linear layer after the mix, with a bias;
        `null` for none.
    RETURNS (Model[List[Doc], List[Floats2d]]): For each document `(n_tokens, width)`,
        `(n_tokens, n_layers * width)` if the mix has `layers = "concat"`, or
        `(n_tokens, projection)`.
    """
    readout = build_readout(mix, width, projection)
    return Model(
        "language_model_listener",
        forward,
        init=init,
        layers=readout,
        dims={"nO": readout_width(readout, width)},
        attrs={
            "width": width,
            "upstream": upstream,
            "grad_factor": grad_factor,
            STATE: ListenerState(),
        },
    )


def is_listener(model: Model) -> bool:
    """Whether a node of a model is one of these listeners."""
    return STATE in model.attrs


def listener_state(model: Model) -> ListenerState:
    """Return the state of a listener."""
    return cast(ListenerState, model.attrs[STATE])


def init(model: Tok2VecT, X: Any = None, Y: Any = None) -> Tok2VecT:
    """Check that there is an upstream component to listen to."""
    _require_source(model)
    listener_state(model).initializing = True
    for layer in model.layers:
        layer.initialize()
    return model


def forward(
    model: Tok2VecT, docs: List[Doc], is_train: bool
) -> Tuple[List[Floats2d], Callable[[List[Floats2d]], List[Doc]]]:
    """Read the upstream's layers: those of the training batch, else the document's."""
    source = _require_source(model)
    state = listener_state(model)
    listening = is_train and state.batch == batch_key(docs)
    if listening:
        layers = state.outputs
    else:
        layers = _annotated(model, docs, source, is_train)
    vectors, backprop_layers = read_out(
        model.layers, docs, layers, state.alignment, is_train
    )
    send = state.backprop

    def backprop(d_vectors: List[Floats2d]) -> List[Doc]:
        d_layers = backprop_layers(d_vectors)
        if listening and send is not None:
            factor = model.attrs["grad_factor"]
            send([gradient * factor for gradient in d_layers])
        return docs

    return vectors, backprop


def _require_source(model: Tok2VecT) -> str:
    source = listener_state(model).source
    if source is None:
        upstream = model.attrs["upstream"]
        raise ValueError(
            f'A listener waits for upstream = "{upstream}", but no such language model '
            "comes before it in the pipeline. Add the component to [nlp] pipeline "
            "before the one that listens, or correct the listener's upstream."
        )
    return source


def _annotated(
    model: Tok2VecT, docs: List[Doc], source: str, is_train: bool
) -> DocLayers:
    """Return the layers that the documents carry, or have the upstream compute them.

    Only training and initialisation ask the upstream: there it may be excluded, or
    not have seen these documents.
    """
    mix, state = model.layers[0], listener_state(model)
    upstream = state.upstream
    layers: DocLayers = []
    for doc in docs:
        found = get_doc_layers(doc, source)
        if found is not None and found.shape[1] == len(doc):
            boundaries = get_doc_boundaries(doc, source)
            if boundaries is not None and mix.attrs.get("reads_boundaries"):
                found = numpy.concatenate([found, boundaries], axis=1)
            layers.append(model.ops.asarray3f(cast(Floats3d, found)))
        elif len(doc) == 0:
            shape = (mix.attrs["n_layers"], 0, model.attrs["width"])
            layers.append(model.ops.alloc3f(*shape))
        elif upstream is not None and (is_train or state.initializing):
            return upstream.predict_cached(docs)
        else:
            raise ValueError(
                f"The document has no vectors of '{source}'. Is '{source}' disabled, "
                "or was it skipped for this document?"
            )
    return layers
