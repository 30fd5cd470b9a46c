"""Language models in other pipelines."""

from pathlib import Path
from typing import NamedTuple, Optional, Sequence, Union

import spacy
from torch import nn

from ..checkpoints.native import Checkpoint
from ..layers.bilm_shim import BiLMShim
from ..layers.shim import LanguageModelShim
from ..text import Indexer, Vocabulary

# Entry of a pipeline's meta that says where its language models come from.
META_KEY = "language_model"

_FACTORIES = {
    "bilm": "elmo_tok2vec",
    "awd_lstm": "awd_lstm_tok2vec",
    "ulmfit_classifier": "ulmfit_textcat",
}
_LANGUAGE_MODELS = ("bilm", "awd_lstm")


class SourceModel(NamedTuple):
    """A language model found in a pipeline.

    name (str): Name of its component.
    shim (LanguageModelShim): The model and the words that belong to it.
    """

    name: str
    shim: LanguageModelShim

    @property
    def module(self) -> nn.Module:
        """The torch module."""
        return self.shim.module

    @property
    def vocabulary(self) -> Optional[Vocabulary]:
        """Its words."""
        return self.shim.vocabulary

    @property
    def indexer(self) -> Optional[Indexer]:
        """How a biLM reads words."""
        return self.shim.indexer if isinstance(self.shim, BiLMShim) else None

    def checkpoint(self) -> Checkpoint:
        """Return the model as if it had been read from a weight file."""
        return self.shim.checkpoint()


def load_language_model(path: Union[str, Path], kind: str) -> SourceModel:
    """Load a pipeline and find the language model in it.

    path (Union[str, Path]): A pipeline's directory or the name of its package.
    kind (str): `"bilm"` or `"awd_lstm"`.
    RETURNS (SourceModel): The language model.
    RAISES (ValueError): If there is no pipeline there, or none of that kind in it.
    """
    nlp = load_pipeline(path)
    return find_language_model(nlp, kind, source=str(path))


def load_pipeline(
    path: Union[str, Path], *, fix: str = "Write one with 'python -m spacy lm pretrain'"
) -> spacy.Language:
    """Load a pipeline, or say what is wrong with its path.

    path (Union[str, Path]): A pipeline's directory or the name of its package.
    fix (str): How one comes by such a pipeline, for the error message.
    RETURNS (Language): The pipeline.
    RAISES (ValueError): If there is no pipeline there.
    """
    try:
        return spacy.load(path)
    except OSError as error:
        raise ValueError(
            f"There is no pipeline '{path}': neither a directory with a config.cfg nor "
            f"an installed package. {fix}, or correct the path."
        ) from error


def find_language_model(
    nlp: spacy.Language, kind: Optional[str] = None, *, source: str = "the pipeline"
) -> SourceModel:
    """Find the language model in a pipeline.

    nlp (Language): The pipeline.
    kind (Optional[str]): `"bilm"`, `"awd_lstm"`, or `None` for either.
    source (str): Where the pipeline comes from, for error messages.
    RETURNS (SourceModel): The first language model of that kind.
    RAISES (ValueError): If there is none.
    """
    return find_model(nlp, _LANGUAGE_MODELS if kind is None else (kind,), source=source)


def find_model(
    nlp: spacy.Language, kinds: Sequence[str], *, source: str = "the pipeline"
) -> SourceModel:
    """Find a language model, or a classifier on one, in a pipeline.

    nlp (Language): The pipeline.
    kinds (Sequence[str]): Some of `"bilm"`, `"awd_lstm"` and `"ulmfit_classifier"`.
    source (str): Where the pipeline comes from, for error messages.
    RETURNS (SourceModel): The first model of these kinds.
    RAISES (ValueError): If there is none.
    """
    found = []
    for name, pipe in nlp.pipeline:
        shim = getattr(pipe, "shim", None)
        if not isinstance(shim, LanguageModelShim) or shim.kind not in _FACTORIES:
            continue
        found.append(f"'{name}', a {shim.kind}")
        if shim.kind in kinds:
            return SourceModel(name, shim)
    wanted = " or ".join(_FACTORIES[kind] for kind in kinds)
    either = tuple(kinds) == _LANGUAGE_MODELS
    described = "language model" if either else " or ".join(kinds)
    raise ValueError(
        f"{source} holds no {described} (component {wanted}); it has "
        f"{', '.join(found) or nlp.pipe_names}. Give the path of a pipeline that "
        f"'python -m spacy lm pretrain' wrote for {wanted}."
    )
