"""A language model's vectors as features of scikit-learn's estimators."""

from typing import (
    Any,
    Dict,
    Iterable,
    Iterator,
    List,
    Optional,
    Sequence,
    Tuple,
    Union,
    cast,
)

import numpy
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from ..layers.doc_layers import LMLayers, get_doc_layers
from ..pipeline.language_model import LanguageModelTok2Vec
from ..pipeline.source import load_pipeline
from .choices import LayerChoice
from .encoder import encode, find_encoder, has_layers
from .pooling import pool, pooling_parts

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError as error:
    raise ImportError(
        "ElmoVectorizer needs scikit-learn: pip install 'spacy-elmo-ulmfit[sklearn]'"
    ) from error

Text = Union[str, Doc]
Texts = Iterable[Text]


class ElmoVectorizer(TransformerMixin, BaseEstimator):
    """Turn texts into vectors: a language model's layers, pooled over the words.

    It learns nothing from the texts, so `transform` works without `fit` as well. White
    space does not count, and a text without words gets zeros.

    pipeline (Union[str, Path, Language]): A pipeline's directory, the name of its
        package, or the pipeline itself. The first two are loaded when needed, and again
        in each clone and each process; the last is shared by clones and pickled along.
    layers (str): `"average"`, `"top"`, `"layer:K"` (0 is the token layer), `"concat"` or
        `"mix"`.
    weights (Optional[Sequence[float]]): Each layer's share of a mix, used as it is.
    pooling (str): `"mean"`, `"max"`, or both side by side, `"mean_max"`.
    batch_size (int): Number of texts computed at a time.
    n_process (int): Number of processes.
    component (Optional[str]): The language model's component; needed where the
        pipeline has several.
    """

    def __init__(
        self,
        pipeline: Any = "en_elmo_sm",
        *,
        layers: str = "average",
        weights: Optional[Sequence[float]] = None,
        pooling: str = "mean",
        batch_size: int = 128,
        n_process: int = 1,
        component: Optional[str] = None,
    ) -> None:
        self.pipeline = pipeline
        self.layers = layers
        self.weights = weights
        self.pooling = pooling
        self.batch_size = batch_size
        self.n_process = n_process
        self.component = component

    def fit(self, X: Texts, y: Any = None) -> "ElmoVectorizer":
        """Load the pipeline and check the settings.

        X (Iterable[Union[str, Doc]]): Texts; only checked.
        y (Any): Unused.
        RETURNS (ElmoVectorizer): Itself.
        RAISES (ValueError): If a setting or the pipeline is not right, or something
            in X is no text.
        """
        _check_texts(X)
        self._setup()
        return self

    def transform(self, X: Texts) -> NDArray[numpy.float32]:
        """Compute the vectors of texts.

        X (Iterable[Union[str, Doc]]): Texts. Documents that carry the component's
            layers already are not read again; with one process, others keep theirs.
        RETURNS (NDArray): `(n_texts, n_features)`, float32.
        RAISES (ValueError): See `fit`.
        """
        texts = _check_texts(X)
        nlp, encoder, choice = self._setup()
        n_features = len(self.get_feature_names_out())
        vectors = numpy.zeros((len(texts), n_features), dtype=numpy.float32)
        for row, doc in zip(vectors, self._read(nlp, encoder, texts)):
            stored = get_doc_layers(doc, encoder.name)
            layers = numpy.asarray(stored, dtype=numpy.float32)
            row[:] = pool(choice(layers), LMLayers(layers).is_word, self.pooling)
        return vectors

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Name the features by pooling, layer (of several) and number in the layer.

        input_features (Any): Unused.
        RETURNS (NDArray): Names such as `"mean_0"` or `"max_layer2_255"`.
        """
        _, encoder, choice = self._setup()
        groups = [""]
        if choice.name == "concat":
            n_layers = encoder.model.attrs["n_outputs"]
            groups = [f"layer{i}_" for i in range(n_layers)]
        names = [
            f"{part}_{group}{i}"
            for part in pooling_parts(self.pooling)
            for group in groups
            for i in range(encoder.model.get_dim("nO"))
        ]
        return numpy.asarray(names, dtype=object)

    def _read(
        self, nlp: Language, encoder: LanguageModelTok2Vec, texts: List[Text]
    ) -> Iterator[Doc]:
        ready = [isinstance(text, Doc) and has_layers(text, encoder) for text in texts]
        computed = encode(
            nlp,
            encoder,
            [text for text, done in zip(texts, ready) if not done],
            batch_size=self.batch_size,
            n_process=self.n_process,
        )
        for text, done in zip(texts, ready):
            yield cast(Doc, text) if done else next(computed)

    def _setup(self) -> Tuple[Language, LanguageModelTok2Vec, LayerChoice]:
        """Check the settings and load the pipeline they are about."""
        pooling_parts(self.pooling)
        choice = LayerChoice(
            self.layers, () if self.weights is None else tuple(self.weights)
        )
        if not choice.reduces:
            raise ValueError(
                "layers = 'all' gives no single vector; use 'concat' to have all layers "
                "side by side."
            )
        nlp = self._load()
        source = "the pipeline" if nlp is self.pipeline else str(self.pipeline)
        encoder = find_encoder(nlp, self.component, source=source)
        choice.check(encoder.model.attrs["n_outputs"])
        return nlp, encoder, choice

    def _load(self) -> Language:
        if isinstance(self.pipeline, Language):
            return self.pipeline
        path, nlp = getattr(self, "_loaded", (None, None))
        if nlp is None or path != self.pipeline:
            nlp = load_pipeline(self.pipeline)
            self._loaded = (self.pipeline, nlp)
        return nlp

    def __getstate__(self) -> Dict[str, Any]:
        state = dict(super().__getstate__())
        state.pop("_loaded", None)
        return state

    def __sklearn_clone__(self) -> "ElmoVectorizer":
        # By default clones get a deep copy of a pipeline that was given as an object.
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags


def _check_texts(X: Texts) -> List[Text]:
    """Return texts as a list of plain strings and documents."""
    if isinstance(X, (str, Doc)):
        raise ValueError("Expected several texts, but got a single one: give a list.")
    texts: List[Text] = []
    for number, text in enumerate(X):
        if not isinstance(text, (str, Doc)):
            raise ValueError(
                f"Text {number} is a {type(text).__name__}; only strings and Docs can be "
                "read. Give one column of text, without missing values."
            )
        # Arrays of strings have elements of a type of their own.
        texts.append(text if isinstance(text, Doc) else str(text))
    return texts
