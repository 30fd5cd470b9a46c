"""The component that gives every token a language model's vectors, and its listeners."""

from abc import ABC, abstractmethod
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Union, cast

import numpy
from spacy.language import Language
from spacy.pipeline.trainable_pipe import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example, validate_examples
from spacy.vocab import Vocab
from thinc.api import Model, Optimizer
from thinc.types import Floats3d
from torch import Tensor, nn

from ..checkpoints.alignment import read_alignment
from ..layers.doc_layers import set_doc_layers
from ..layers.group_update import GroupUpdate
from ..layers.listener import is_listener, listener_state
from ..layers.readout import language_model_alignment
from ..layers.shim import TrainableGroups
from ..layers.tok2vec import replace_listener, replace_listener_config
from ..layers.types import DocLayers, LanguageModelT
from ..text import Vocabulary
from .cache import HALF
from .encoder_cache import EncoderCache
from .serialization import SafetensorsModel
from .source import load_language_model

PathOrPaths = Union[str, Path, Dict[str, Union[str, Path]]]


class LanguageModelTok2Vec(SafetensorsModel, TrainablePipe, ABC):
    """Base of `elmo_tok2vec` and `awd_lstm_tok2vec`.

    Components that listen mix the layers as they like; each has its own mix. In
    training their gradients are gathered and go through the language model once,
    in `finish_update`, so that neither their order nor a frozen one among them
    matters.

    vocab (Vocab): The shared vocabulary.
    model (Model[List[Doc], List[Floats3d]]): The language model.
    name (str): The component's name.
    frozen (bool): Whether the language model keeps its weights. A frozen model
        computes no gradients, and its outputs are cached between epochs.
    cache_mb (int): Most megabytes of that cache, 0 for no cache.
    cache_dir (Optional[str]): Folder that keeps it for other runs; `None` for memory.
        It is made in training only: prediction uses no cache.
    """

    attribute: str

    def __init__(
        self,
        vocab: Vocab,
        model: LanguageModelT,
        name: str,
        *,
        frozen: bool = True,
        cache_mb: int = 512,
        cache_dir: Optional[str] = None,
    ) -> None:
        self.vocab = vocab
        self.model = model
        self.name = name
        self.frozen = frozen
        self.cfg: Dict[str, Any] = {}
        self.listener_map: Dict[str, List[Model]] = {}
        self._cache = EncoderCache(name, cache_mb, cache_dir)
        self._pending: Optional[_PendingUpdate] = None
        model.attrs["replace_listener"] = replace_listener
        self._offer_replacement()

    @property
    def language_model(self) -> nn.Module:
        """The torch module, for use outside spaCy."""
        return self.shim.module

    @property
    def vocabulary(self) -> Optional[Vocabulary]:
        """The words the language model predicts."""
        return self.shim.vocabulary

    @property
    def alignment(self) -> Optional[Tensor]:
        """The matrix that maps mixed vectors into a space shared between languages.

        Stored with the weights. *Shape:* `(width, width)`; `None` without one.
        """
        return language_model_alignment(self.model)

    @property
    def n_layer_groups(self) -> int:
        """Number of layer groups, the components that listen being the top one.

        A frozen language model has none.
        """
        return 0 if self.frozen else len(self.shim.layer_groups) + 1

    def set_trainable_groups(self, groups: TrainableGroups) -> None:
        """Let some layer groups learn; the components that listen always do.

        groups (Union[int, Collection[int]]): How many groups learn, counted from the
            components that listen, or the numbers of those that do, the bottom being 0.
        """
        if isinstance(groups, int):
            groups = max(0, groups - 1)
        self.shim.set_trainable_groups(groups)

    def set_group_update(self, update: Optional[GroupUpdate]) -> None:
        """Give the next steps settings of their own.

        update (Optional[GroupUpdate]): The settings, until others are given; `None`
            for those of the optimizer. Its rate is that of components that listen:
            the language model's top layer has the next lower one.
        """
        if update is not None:
            rate = update.learn_rate / update.lr_decay
            update = replace(update, learn_rate=rate)
        self.shim.set_group_update(update)

    @property
    def listeners(self) -> List[Model]:
        """The listeners of all components."""
        return [node for nodes in self.listener_map.values() for node in nodes]

    @property
    def listening_components(self) -> List[str]:
        """Names of the components that listen."""
        return list(self.listener_map)

    def add_listener(self, listener: Model, component_name: str) -> None:
        """Link a listener of a component to this one.

        listener (Model): The listener.
        component_name (str): The component it is part of.
        RAISES (ValueError): If it expects other layers or another width.
        """
        nodes = self.listener_map.setdefault(component_name, [])
        if not any(node is listener for node in nodes):
            nodes.append(listener)
        state = listener_state(listener)
        if state.upstream not in (None, self) and listener.attrs["upstream"] == "*":
            # Of several encoders before it, the last one has it alone.
            cast(Any, state.upstream).remove_listener(listener, component_name)
        state.link(self)
        self._offer_replacement()
        expected, found = listener.attrs["width"], self.model.get_dim("nO")
        n_expected = listener.layers[0].attrs["n_layers"]
        n_found = self.model.attrs["n_outputs"]
        if (expected, n_expected) != (found, n_found):
            raise ValueError(
                f"The listener in '{component_name}' expects {n_expected} layers of "
                f"width {expected}, but '{self.name}' has {n_found} of width {found}. "
                f"In [components.{component_name}.model], set the listener's "
                f"width = {found} and its mix's n_layers = {n_found}."
            )

    def _offer_replacement(self) -> None:
        # Plain values, not this component: copies of the model take them along.
        self.model.attrs["replace_listener_cfg"] = partial(
            replace_listener_config, upstream=self.name, frozen=self.frozen
        )

    def remove_listener(self, listener: Model, component_name: str) -> bool:
        """Unlink a listener.

        RETURNS (bool): Whether it was linked.
        """
        nodes = self.listener_map.get(component_name, [])
        kept = [node for node in nodes if node is not listener]
        if len(kept) == len(nodes):
            return False
        if kept:
            self.listener_map[component_name] = kept
        else:
            del self.listener_map[component_name]
        return True

    def find_listeners(self, component: Any) -> None:
        """Link all listeners in a component that wait for this one."""
        model = getattr(component, "model", None)
        if not isinstance(model, Model):
            return
        for node in model.walk():
            if is_listener(node) and node.attrs["upstream"] in ("*", self.name):
                self.add_listener(node, component.name)

    def predict(self, docs: Iterable[Doc]) -> DocLayers:
        """Compute the layers of documents.

        docs (Iterable[Doc]): The documents.
        RETURNS (List[Floats3d]): `(n_layers, n_rows, width)` for each: a row per
            token, then the rows of sentence boundaries, if the model keeps them.
        """
        return self.model.predict(list(docs))

    def set_annotations(self, docs: Sequence[Doc], layers: DocLayers) -> None:
        """Keep the layers on the documents, and their aligned mean as `doc.tensor`.

        docs (Sequence[Doc]): The documents.
        layers (List[Floats3d]): What `predict` returned for them.
        """
        alignment = self.alignment
        matrix = None if alignment is None else alignment.detach().float().cpu().numpy()
        for doc, doc_layers in zip(docs, layers):
            array = self.model.ops.to_numpy(doc_layers)
            tokens, boundaries = numpy.split(array, [len(doc)], axis=1)
            kept = boundaries if boundaries.shape[1] else None
            set_doc_layers(doc, self.attribute, self.name, tokens, kept)
            mean = tokens.mean(axis=0)
            doc.tensor = mean if matrix is None else mean @ matrix.T

    def update(
        self,
        examples: Iterable[Example],
        *,
        drop: float = 0.0,
        sgd: Optional[Optimizer] = None,
        losses: Optional[Dict[str, float]] = None,
    ) -> Dict[str, float]:
        """Compute the layers of a training batch and hand them to the listeners.

        examples (Iterable[Example]): The batch.
        drop (float): Unused: dropouts are settings of the models.
        sgd (Optional[Optimizer]): Unused: the listeners have not run yet, so the
            weights change in `finish_update`, or at the next batch.
        losses (Optional[Dict[str, float]]): Gets the squared gradient norm.
        RETURNS (Dict[str, float]): The losses.
        """
        losses = {} if losses is None else losses
        losses.setdefault(self.name, 0.0)
        examples = list(examples)
        validate_examples(examples, "LanguageModelTok2Vec.update")
        self._flush()
        docs = [example.predicted for example in examples]
        if self.frozen:
            layers, backprop = self.predict_cached(docs), None
        else:
            layers, backprop = self.model.begin_update(docs)
        send = None
        if backprop is not None:
            self._pending = _PendingUpdate(layers, backprop, self.name, losses)
            send = self._pending.receive
        for listener in self.listeners:
            listener_state(listener).receive(docs, layers, send)
        if sgd not in (None, False):
            self.finish_update(sgd)
        return losses

    def finish_update(self, sgd: Optimizer) -> None:
        """Send the gathered gradients through the language model and update it."""
        if self.frozen:
            return
        self._flush()
        self.model.finish_update(sgd)
        self._weights_changed()

    def _flush(self) -> None:
        # A batch whose listeners have not run yet is kept: with
        # nlp.update(sgd=...) its gradients arrive after finish_update.
        if self._pending is not None and self._pending.arrived:
            self._pending.backprop_layers()
            self._pending = None

    @property
    def _is_cached(self) -> bool:
        # A carried state makes the layers depend on more than the document.
        carries = self.model.attrs.get("initial_state") == "carry"
        return self.frozen and not carries and self._cache.max_bytes > 0

    @abstractmethod
    def document_key(self, doc: Doc) -> bytes:
        """Return what tells documents apart that the language model reads otherwise.

        doc (Doc): The document.
        RETURNS (bytes): The same for documents with the same layers only.
        """

    def predict_cached(self, docs: Sequence[Doc]) -> DocLayers:
        """Compute the layers of a training batch, each document once while frozen."""
        if not self._is_cached:
            return self.predict(docs)
        cache, ops = self._cache.open(self.model), self.model.ops
        keys = [self.document_key(doc) for doc in docs]
        halves = cache.get(keys)
        missing = {key: doc for key, doc in zip(keys, docs) if key not in halves}
        if missing:
            outputs = map(ops.to_numpy, self.predict(missing.values()))
            # Rounded here as well: a hit and a miss give the same numbers.
            computed = {key: out.astype(HALF) for key, out in zip(missing, outputs)}
            cache.store(computed)
            halves.update(computed)
        layers = (halves[key].astype(numpy.float32) for key in keys)
        return [ops.asarray3f(cast(Floats3d, array)) for array in layers]

    def get_loss(self, examples: Iterable[Example], scores: Any) -> None:
        """There is no loss of its own: the listeners have theirs."""

    def initialize(
        self,
        get_examples: Callable[[], Iterable[Example]],
        *,
        nlp: Optional[Language] = None,
        path: Optional[PathOrPaths] = None,
        alignment: Optional[PathOrPaths] = None,
    ) -> None:
        """Take the weights of a trained language model.

        get_examples (Callable[[], Iterable[Example]]): Unused.
        nlp (Optional[Language]): The pipeline, whose language chooses among several
            paths.
        path (Optional[Union[str, Path, Dict[str, Union[str, Path]]]]): A pipeline
            that holds a language model of the same kind and sizes, or one for each
            language code.
        alignment (Optional[Union[str, Path, Dict[str, Union[str, Path]]]]): File of a
            `(width, width)` matrix that mixed vectors are multiplied by, or one for
            each language code.
        RAISES (ValueError): Without `path`, unless the weights are there already; if
            there is no path for the language; if the matrix has another shape; if
            there can be no folder `cache_dir`.
        """
        if self._is_cached:
            self._cache.make_folder()
        lang = None if nlp is None else nlp.lang
        if path is not None:
            path = _for_language(path, lang, "path")
            source = load_language_model(path, self.shim.kind)
            self.shim.load(source.checkpoint(), source=str(path))
        # Raises the error that says where weights come from.
        self.shim.module.eval()
        if alignment is not None:
            self._align(Path(_for_language(alignment, lang, "alignment")))
        self._weights_changed()

    def _align(self, path: Path) -> None:
        """Read an alignment matrix and store it with the weights."""
        module = self.shim.module
        if not hasattr(module, "set_alignment"):
            raise ValueError(
                f"'{self.name}' holds a {self.shim.kind}, which takes no alignment "
                "matrix. Remove alignment from its [initialize.components] block."
            )
        matrix = read_alignment(path)
        try:
            cast(Any, module).set_alignment(matrix)
        except ValueError as error:
            raise ValueError(f"{path} does not fit '{self.name}': {error}") from error

    def _weights_changed(self) -> None:
        self._cache.clear()


def _for_language(
    paths: PathOrPaths, lang: Optional[str], setting: str
) -> Union[str, Path]:
    """Return the path for a language where there is one for each."""
    if not isinstance(paths, dict):
        return paths
    if lang not in paths:
        raise ValueError(
            f"{setting} has no entry for the pipeline's language '{lang}'; it has "
            f"{sorted(paths)}. Add one, or correct [nlp] lang."
        )
    return paths[lang]


class _PendingUpdate:
    """Gradients of one batch, gathered until the language model is updated."""

    def __init__(
        self,
        layers: DocLayers,
        backprop: Callable[[DocLayers], Any],
        name: str,
        losses: Dict[str, float],
    ) -> None:
        self._backprop = backprop
        self._gradient = [layer * 0.0 for layer in layers]
        self._name, self._losses = name, losses
        self.arrived = False

    def receive(self, gradient: DocLayers) -> None:
        """Add one listener's gradient."""
        self.arrived = True
        for total, part in zip(self._gradient, gradient):
            total += part
            self._losses[self._name] += float(cast(Any, part**2).sum())

    def backprop_layers(self) -> None:
        """Send the sum through the language model."""
        self._backprop(self._gradient)
