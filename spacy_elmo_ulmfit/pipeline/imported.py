"""Pipelines around published language models."""

from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, cast

from spacy.language import Language
from spacy.util import get_lang_class, load_model_from_config
from thinc.api import Config

from ..checkpoints import ImportedELMo
from ..checkpoints.alignment import read_alignment
from ..layers.bilm import FROM_WEIGHTS
from ..text.neutral import neutral_sentences, store_warm_state
from .elmo_tok2vec import ElmoTok2Vec
from .source import META_KEY

_NAME = "elmo_tok2vec"


def create_elmo_pipeline(
    lang: str,
    imported: ImportedELMo,
    *,
    source: str,
    initial_state: Literal["warm", "zeros", "carry"] = "warm",
    storage: Literal["float32", "float16"] = "float32",
    warm_text: Optional[List[str]] = None,
    alignment: Optional[Path] = None,
) -> Language:
    """Build a pipeline with one `elmo_tok2vec` from a published biLM.

    lang (str): Code of the language.
    imported (ImportedELMo): The biLM.
    source (str): Where it comes from, for the pipeline's meta.
    initial_state (str): What sequences start from; the warm state is stored in any
        case.
    storage (str): Type the weights are stored in.
    warm_text (Optional[List[str]]): Neutral sentences of the language; by default
        the warm state that comes with the biLM, else those of `neutral_texts`.
    alignment (Optional[Path]): File of a matrix that maps the vectors into another
        language's.
    RETURNS (Language): The pipeline.
    RAISES (ValueError): If spaCy does not know the language, or the alignment does
        not fit.
    """
    _check_language(lang)
    settings = {
        name: value
        for name, value in imported.checkpoint.settings.items()
        if name not in FROM_WEIGHTS
    }
    model: Dict[str, Any] = {
        "@architectures": "spacy-elmo-ulmfit.BiLM.v1",
        **settings,
        "filters": [list(pair) for pair in settings["filters"]],
        "initial_state": initial_state,
        "storage": storage,
    }
    config = Config(
        {
            "nlp": {"lang": lang, "pipeline": [_NAME]},
            "components": {_NAME: {"factory": "elmo_tok2vec", "model": model}},
        }
    )
    nlp = load_model_from_config(config, auto_fill=True)
    shim = cast(ElmoTok2Vec, nlp.get_pipe(_NAME)).shim
    shim.load(imported.checkpoint, source=source)
    # A biLM that was trained here brings its own.
    if warm_text or not shim.bilm.warm_hidden.any():
        sentences = neutral_sentences(nlp, warm_text)
        store_warm_state(shim.bilm, shim.indexer, sentences)
    if alignment is not None:
        shim.bilm.set_alignment(read_alignment(alignment))
    nlp.meta[META_KEY] = {
        _NAME: {"kind": shim.kind, "format": imported.format, "source": source}
    }
    return nlp


def _check_language(lang: str) -> None:
    try:
        get_lang_class(lang)
    except ImportError as error:
        raise ValueError(
            f"spaCy has no language {lang!r}. Give the code of one it has, or xx for "
            "any."
        ) from error
