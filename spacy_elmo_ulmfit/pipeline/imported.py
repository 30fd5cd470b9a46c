"""Pipelines around published language models."""

from pathlib import Path
from typing import Any, Dict, List, Literal, Optional, Sequence, cast

from spacy.language import Language
from spacy.util import get_lang_class, load_model_from_config
from thinc.api import Config

from ..checkpoints import Checkpoint, ImportedELMo, ImportedULMFiT, Storage
from ..checkpoints.alignment import read_alignment
from ..layers.awd_lstm import ENCODER_DROPOUTS
from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.bilm import FROM_WEIGHTS
from ..layers.shim import LanguageModelShim
from ..text import SentencePieceTokenizer, read_lm_tokenizer
from ..text.neutral import neutral_sentences, store_warm_state
from .direction import check_direction
from .elmo_tok2vec import ElmoTok2Vec
from .source import META_KEY

_ELMO, _AWD_LSTM = "elmo_tok2vec", "awd_lstm_tok2vec"
_TEXTCAT, _TEXTCAT_MULTILABEL = "ulmfit_textcat", "ulmfit_textcat_multilabel"
_SIZES = ("embedding_dim", "hidden_dim", "n_layers", "rnn", "direction")
_HEAD_SETTINGS = ("bptt", "max_len")


def create_elmo_pipeline(
    lang: str,
    imported: ImportedELMo,
    *,
    source: str,
    initial_state: Literal["warm", "zeros", "carry"] = "warm",
    storage: Storage = "float32",
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
    settings = {
        name: value
        for name, value in imported.checkpoint.settings.items()
        if name not in FROM_WEIGHTS
    }
    model: Dict[str, Any] = {
        "@architectures": "spacy-elmo-ulmfit.BiLM.v1",
        **settings,
        "filters": [list(pair) for pair in settings["filters"]],
        "softmax_cutoffs": list(settings["softmax_cutoffs"]),
        "initial_state": initial_state,
        "storage": storage,
    }
    nlp = _create_pipeline(lang, _ELMO, model)
    shim = cast(ElmoTok2Vec, nlp.get_pipe(_ELMO)).shim
    shim.load(imported.checkpoint, source=source)
    # A biLM that was trained here brings its own.
    if warm_text or not shim.bilm.warm_hidden.any():
        sentences = neutral_sentences(nlp, warm_text)
        store_warm_state(shim.bilm, shim.indexer, sentences)
    if alignment is not None:
        shim.bilm.set_alignment(read_alignment(alignment))
    _write_meta(nlp, _ELMO, shim, imported.format, source)
    return nlp


def create_ulmfit_pipeline(
    lang: str,
    imported: ImportedULMFiT,
    *,
    source: str,
    labels: Sequence[str] = (),
    multilabel: bool = False,
    storage: Storage = "float32",
) -> Language:
    """Build a pipeline from a published AWD-LSTM or classifier.

    lang (str): Code of the language.
    imported (ImportedULMFiT): The model.
    source (str): Where it comes from, for messages and the pipeline's meta.
    labels (Sequence[str]): A classifier's labels, in its order.
    multilabel (bool): Whether they do not exclude each other.
    storage (str): Type the weights are stored in.
    RETURNS (Language): The pipeline, with one `awd_lstm_tok2vec`, `ulmfit_textcat` or
        `ulmfit_textcat_multilabel`.
    RAISES (ValueError): If spaCy does not know the language, the model has no labels to
        be several, or it reads text the other way round.
    """
    if multilabel and not labels:
        raise ValueError(
            f"{source} holds a language model, which has no labels. Leave --multilabel "
            "out, or give the weights of a classifier."
        )
    model = {**_ulmfit_model(imported, labels), "storage": storage}
    name = _AWD_LSTM
    if labels:
        name = _TEXTCAT_MULTILABEL if multilabel else _TEXTCAT
    nlp = _create_pipeline(lang, name, model)
    pipe: Any = nlp.get_pipe(name)
    for label in labels:
        pipe.add_label(label)
    shim = cast(AWDLSTMShim, pipe.shim)
    shim.load(_with_tokenizer(imported, lang), source=source)
    if imported.has_decoder:
        check_direction(nlp, shim, source)
    _write_meta(nlp, name, shim, imported.format, source)
    return nlp


def _ulmfit_model(imported: ImportedULMFiT, labels: Sequence[str]) -> Dict[str, Any]:
    """Return the model block of the component."""
    settings = imported.checkpoint.settings
    encoder = settings.get("encoder", settings)
    model: Dict[str, Any] = {name: encoder[name] for name in _SIZES}
    model["tokens"] = imported.tokens
    if not labels:
        model["@architectures"] = "spacy-elmo-ulmfit.AWDLSTM.v1"
        return {**model, **{name: encoder[name] for name in ENCODER_DROPOUTS}}
    model["@architectures"] = "spacy-elmo-ulmfit.ULMFiTClassifier.v1"
    model["head_dim"] = settings["hidden_dim"]
    return {**model, **{name: settings[name] for name in _HEAD_SETTINGS}}


def _with_tokenizer(imported: ImportedULMFiT, lang: str) -> Checkpoint:
    checkpoint = imported.checkpoint
    rules = {"kind": imported.tokens, "lang": lang}
    tokenizer = read_lm_tokenizer(rules, checkpoint.extra_tensors)
    if isinstance(tokenizer, SentencePieceTokenizer):
        _check_pieces(tokenizer, checkpoint.extra["vocabulary"]["words"])
    return checkpoint._replace(
        extra={**checkpoint.extra, "tokenizer": tokenizer.to_json()}
    )


def _check_pieces(tokenizer: SentencePieceTokenizer, words: Sequence[str]) -> None:
    """Make sure that a vocabulary consists of a SentencePiece model's pieces."""
    try:
        pieces = set(tokenizer.pieces)
    except ValueError as error:
        raise ValueError(f"The spm.model beside the weights: {error}") from error
    others = [word for word in words if word not in pieces]
    if len(others) > len(words) / 2:
        raise ValueError(
            f"The vocabulary's words ({', '.join(others[-3:])}) are not the pieces of the "
            "SentencePiece model beside it. It must be the spm.model that the weights were "
            "trained with."
        )


def _create_pipeline(lang: str, name: str, model: Dict[str, Any]) -> Language:
    """Build a pipeline of one component, which is called as its factory."""
    _check_language(lang)
    config = Config(
        {
            "nlp": {"lang": lang, "pipeline": [name]},
            "components": {name: {"factory": name, "model": model}},
        }
    )
    return load_model_from_config(config, auto_fill=True)


def _write_meta(
    nlp: Language, name: str, shim: LanguageModelShim, form: str, source: str
) -> None:
    nlp.meta[META_KEY] = {name: {"kind": shim.kind, "format": form, "source": source}}


def _check_language(lang: str) -> None:
    try:
        get_lang_class(lang)
    except ImportError as error:
        raise ValueError(
            f"spaCy has no language {lang!r}. Give the code of one it has, or xx for "
            "any."
        ) from error
