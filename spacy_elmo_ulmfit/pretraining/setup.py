"""From a config to a trainer: pipeline, text, vocabulary, language model."""

from functools import partial
from pathlib import Path
from typing import Iterable, Iterator, NamedTuple, Optional, Union, cast

from spacy import util
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from spacy.training import Example
from thinc.api import Config, fix_random_seed

from ..checkpoints.options import read_vocabulary
from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.bilm_shim import BiLMShim
from ..layers.shim import LanguageModelShim
from ..pipeline.source import find_language_model, load_pipeline
from ..text import Vocabulary, WordIndexer
from .checkpoint import CHECKPOINTS, checkpoint_files, load_checkpoint
from .config import LMConfig, resolve_corpus, resolve_lm_config
from .distillation import Teacher
from .loop import LanguageModelTrainer
from .objectives import build_vocabulary
from .stream import (
    BOUNDARY_TYPES,
    TokenStream,
    bilm_words,
    build_stream,
    prepared_docs,
)
from .student import create_student, teacher_indexer
from .vocabulary_mapping import map_vocabulary
from .word_losses import LanguageModel

_STREAMS = "corpus"


class Streams(NamedTuple):
    """The text of a run.

    train (TokenStream): What is learnt from.
    dev (TokenStream): What is held out.
    """

    train: TokenStream
    dev: TokenStream


def setup_pretraining(
    config: Config, output: Path, *, resume: bool = False
) -> LanguageModelTrainer:
    """Prepare the training of a new language model.

    config (Config): The config, not interpolated.
    output (Path): Directory of the run.
    resume (bool): Whether the run goes on from its checkpoint.
    RETURNS (LanguageModelTrainer): The trainer.
    """
    settings = resolve_lm_config(config.interpolate())
    if settings.distillation is not None:
        raise ValueError(
            "[lm.distillation] needs a teacher: 'python -m spacy lm finetune --from "
            "PIPELINE'. Leave it out to pretrain without one."
        )
    check_output(output, resume=resume)
    fix_random_seed(settings.seed)
    # Reading fills a pipeline with strings, so another one does it.
    reader = util.load_model_from_config(config, auto_fill=True)
    nlp = util.load_model_from_config(config, auto_fill=True)
    shim = _language_model_shim(nlp, settings.component)
    for pipeline in (nlp, reader):
        created = _language_model_shim(pipeline, settings.component)
        if isinstance(created, AWDLSTMShim):
            created.create_tokenizer(pipeline.lang)
    streams = _load_streams(reader, settings, output, resume=resume)
    vocabulary = _build_vocabulary(shim, streams.train, settings)
    shim.create(vocabulary, n_words=len(vocabulary))
    return _create_trainer(nlp, shim, streams, settings, output)


def setup_finetuning(
    config: Config,
    output: Path,
    *,
    source: Union[str, Path],
    resume: bool = False,
) -> LanguageModelTrainer:
    """Prepare the further training of a language model on other text.

    The pipeline, its language model and all sizes come from `source`; the config
    says what to read and how to train. With a distillation, that language model is the
    teacher of a new one, whose pipeline and sizes come from the config.

    config (Config): The config, not interpolated.
    output (Path): Directory of the run.
    source (Union[str, Path]): The pipeline with the trained language model.
    resume (bool): Whether the run goes on from its checkpoint.
    RETURNS (LanguageModelTrainer): The trainer.
    """
    settings = resolve_lm_config(config.interpolate())
    check_output(output, resume=resume)
    fix_random_seed(settings.seed)
    nlp = load_pipeline(source)
    for section in ("paths", "corpora", "lm"):
        nlp.config[section] = {**nlp.config.get(section, {}), **config.get(section, {})}
    found = find_language_model(nlp, source=str(source))
    settings = settings.model_copy(update={"component": found.name})
    nlp.config["lm"]["component"] = found.name
    shim = _language_model_shim(nlp, found.name)
    reader = load_pipeline(source)
    reader.config["corpora"] = nlp.config["corpora"]
    reader.config["paths"] = nlp.config["paths"]
    streams = _load_streams(reader, settings, output, resume=resume)
    vocabulary = _build_vocabulary(shim, streams.train, settings)
    if settings.vocabulary == "extend" and found.vocabulary is not None:
        vocabulary = found.vocabulary.extend(vocabulary)
    mapped = map_vocabulary(found.module, found.vocabulary, vocabulary)
    shim.set_module(mapped.module, vocabulary)
    if isinstance(shim, BiLMShim) and shim.bilm.config.tie_softmax:
        shim.set_indexer(WordIndexer(vocabulary.words, vocabulary.unknown))
    util.logger.info(
        "Vocabulary of %d words: %d known to the model, %d new",
        len(vocabulary),
        mapped.n_known,
        mapped.n_new,
    )
    if settings.distillation is None:
        return _create_trainer(nlp, shim, streams, settings, output)
    teacher = Teacher(cast(LanguageModel, mapped.module), teacher_indexer(shim))
    settings = resolve_lm_config(config.interpolate())
    nlp, shim = create_student(config, settings.component, shim, vocabulary)
    return _create_trainer(nlp, shim, streams, settings, output, teacher)


def read_stream(
    nlp: Language, component: str, docs: Iterable[Union[Doc, Example]], source: str
) -> TokenStream:
    """Read documents as the pipeline's language model does.

    nlp (Language): The pipeline.
    component (str): Name of the language model's component.
    docs (Iterable[Union[Doc, Example]]): What a corpus reader yields.
    source (str): Where they come from, for error messages.
    RETURNS (TokenStream): The stream.
    """
    shim = _language_model_shim(nlp, component)
    prepared = prepared_docs(nlp, component, _as_docs(docs))
    if isinstance(shim, AWDLSTMShim):
        return build_stream(prepared, shim.words_of, source=source)
    model = cast(TrainablePipe, nlp.get_pipe(component)).model
    sequences = model.attrs.get("sequences", "sents")
    return build_stream(
        prepared,
        partial(bilm_words, sequences=sequences),
        source=source,
        first_types=BOUNDARY_TYPES,
    )


def check_output(output: Path, *, resume: bool) -> None:
    """Make sure that a new run does not overwrite one that can still be resumed."""
    if resume or not checkpoint_files(output):
        return
    if not load_checkpoint(output, mmap=True)["progress"]["finished"]:
        raise ValueError(
            f"{output} holds a run that was interrupted. Go on with it by --resume, or "
            f"delete {output / CHECKPOINTS} to start anew."
        )


def _language_model_shim(nlp: Language, component: str) -> LanguageModelShim:
    if component not in nlp.pipe_names:
        raise ValueError(
            f"[lm] component = '{component}' is not in the pipeline {nlp.pipe_names}. "
            "Name the elmo_tok2vec or awd_lstm_tok2vec component of [nlp] pipeline."
        )
    shim = getattr(nlp.get_pipe(component), "shim", None)
    if not isinstance(shim, LanguageModelShim):
        raise ValueError(
            f"[lm] component = '{component}' is no language model: it must be made by "
            "the factory elmo_tok2vec or awd_lstm_tok2vec."
        )
    return shim


def _load_streams(
    nlp: Language, settings: LMConfig, output: Path, *, resume: bool
) -> Streams:
    directory = output / _STREAMS
    if resume and directory.exists():
        return Streams(
            TokenStream.load(directory / "train"), TokenStream.load(directory / "dev")
        )
    streams = Streams(
        *(
            read_stream(
                nlp, settings.component, resolve_corpus(nlp, name)(nlp), f"[{name}]"
            )
            for name in (settings.train_corpus, settings.dev_corpus)
        )
    )
    streams.train.save(directory / "train")
    streams.dev.save(directory / "dev")
    return streams


def _as_docs(items: Iterable[Union[Doc, Example]]) -> Iterator[Doc]:
    for item in items:
        yield item.predicted if isinstance(item, Example) else item


def _build_vocabulary(
    shim: LanguageModelShim, stream: TokenStream, settings: LMConfig
) -> Vocabulary:
    counts, path = stream.counts(), settings.vocab_file
    tokenizer = shim.tokenizer if isinstance(shim, AWDLSTMShim) else None
    if path is None:
        return build_vocabulary(
            counts, tokenizer, max_size=settings.max_vocab, min_freq=settings.min_freq
        )
    if not path.is_file():
        raise ValueError(f"[lm] vocab_file = {path} does not exist. Correct the path.")
    words = set(read_vocabulary(path.read_bytes(), str(path)))
    known = {word: counts.get(word, 0) for word in words}
    missed = sum(n for word, n in counts.items() if word not in words)
    vocabulary = build_vocabulary(known, tokenizer, max_size=0, min_freq=0)
    vocabulary.counts[vocabulary.unknown_id] += missed
    return vocabulary


def _create_trainer(
    nlp: Language,
    shim: LanguageModelShim,
    streams: Streams,
    settings: LMConfig,
    output: Path,
    teacher: Optional[Teacher] = None,
) -> LanguageModelTrainer:
    return LanguageModelTrainer(
        nlp,
        shim.module,
        cast(Vocabulary, shim.vocabulary),
        indexer=shim.indexer if isinstance(shim, BiLMShim) else None,
        train=streams.train,
        dev=streams.dev,
        config=settings,
        output=output,
        teacher=teacher,
    )
