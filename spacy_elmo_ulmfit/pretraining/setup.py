"""From a config to a trainer: pipeline, text, vocabulary, language model."""

import contextlib
from functools import partial
from pathlib import Path
from typing import Any, Iterator, Union, cast

from spacy import util
from spacy.language import Language
from thinc.api import Config, fix_random_seed
from torch import Tensor

from ..checkpoints.options import read_vocabulary
from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.bilm_shim import BiLMShim
from ..layers.shim import LanguageModelShim
from ..pipeline.source import find_language_model, load_pipeline
from ..text import Vocabulary, WordIndexer
from .config import LMConfig, resolve_lm_config
from .corpus.preparation import Streams, prepare_streams
from .corpus.reading import StreamReader, language_model_shim
from .corpus.shards import ShardedStream
from .corpus.word_counts import count_words
from .loop import LanguageModelTrainer
from .losses.objectives import build_vocabulary
from .losses.target_vectors import read_target_vectors
from .losses.word_losses import LanguageModel
from .resuming.checkpoint import CHECKPOINTS, checkpoint_files, load_checkpoint
from .student import create_student
from .vocabulary_mapping import map_vocabulary
from .workers import ALONE, Workers


def setup_pretraining(
    config: Config, output: Path, *, resume: bool = False, workers: Workers = ALONE
) -> LanguageModelTrainer:
    """Prepare the training of a new language model.

    config (Config): The config, not interpolated.
    output (Path): Directory of the run.
    resume (bool): Whether the run goes on from its checkpoint.
    workers (Workers): The processes that train it together.
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
    create = partial(_create_pipeline, config, settings.component)
    nlp = create()
    shim = language_model_shim(nlp, settings.component)
    # Reading fills a pipeline with strings, so another one does it.
    read = StreamReader(create, settings.component)
    with workers.main_first():
        streams = prepare_streams(read, settings, output, resume=resume)
    vocabulary = _build_vocabulary(shim, streams.train, settings)
    # Whether the text was read now or before must make no difference.
    fix_random_seed(settings.seed)
    if settings.target_vectors is not None:
        vectors = read_target_vectors(settings.target_vectors, vocabulary)
        _create_vector_model(shim, vocabulary, vectors)
        return _create_trainer(
            nlp,
            shim,
            vocabulary,
            streams,
            settings,
            output,
            workers,
            target_vectors=vectors,
        )
    with _memory_errors(vocabulary):
        shim.create(vocabulary, n_words=len(vocabulary))
    return _create_trainer(nlp, shim, vocabulary, streams, settings, output, workers)


def setup_finetuning(
    config: Config,
    output: Path,
    *,
    source: Union[str, Path],
    resume: bool = False,
    workers: Workers = ALONE,
) -> LanguageModelTrainer:
    """Prepare the further training of a language model on other text.

    The pipeline, its language model and all sizes come from `source`; the config
    says what to read and how to train. With a distillation, that language model is the
    teacher of a new one, whose pipeline and sizes come from the config.

    config (Config): The config, not interpolated.
    output (Path): Directory of the run.
    source (Union[str, Path]): The pipeline with the trained language model.
    resume (bool): Whether the run goes on from its checkpoint.
    workers (Workers): The processes that train it together.
    RETURNS (LanguageModelTrainer): The trainer.
    """
    settings = resolve_lm_config(config.interpolate())
    if settings.target_vectors is not None:
        raise ValueError(
            "[lm] target_vectors is for new models, of 'python -m spacy lm pretrain'. "
            "Leave it out to go on training one, which then learns a softmax."
        )
    check_output(output, resume=resume)
    fix_random_seed(settings.seed)
    nlp = load_pipeline(source)
    for section in ("paths", "corpora", "lm"):
        nlp.config[section] = {**nlp.config.get(section, {}), **config.get(section, {})}
    found = find_language_model(nlp, source=str(source))
    if settings.distillation is not None and found.vocabulary is None:
        raise ValueError(
            f"The language model in {source} has no softmax, so it predicts no words that "
            "another one could learn from it. Train one by 'lm finetune' without "
            "[lm.distillation] first."
        )
    settings = settings.model_copy(update={"component": found.name})
    nlp.config["lm"]["component"] = found.name
    shim = language_model_shim(nlp, found.name)
    load = partial(_load_pipeline, source, nlp.config)
    read = StreamReader(load, found.name)
    with workers.main_first():
        streams = prepare_streams(read, settings, output, resume=resume)
    vocabulary = _build_vocabulary(shim, streams.train, settings)
    if settings.vocabulary == "extend" and found.vocabulary is not None:
        vocabulary = found.vocabulary.extend(vocabulary)
    fix_random_seed(settings.seed)
    with _memory_errors(vocabulary):
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
        return _create_trainer(
            nlp, shim, vocabulary, streams, settings, output, workers
        )
    teacher = cast(LanguageModel, mapped.module)
    settings = resolve_lm_config(config.interpolate())
    nlp, shim = create_student(config, settings.component, shim, vocabulary)
    return _create_trainer(
        nlp, shim, vocabulary, streams, settings, output, workers, teacher=teacher
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


@contextlib.contextmanager
def _memory_errors(vocabulary: Vocabulary) -> Iterator[None]:
    """Say what to do when there is no memory for the weights."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # torch has no exception of its own for memory that a CPU lacks.
        if isinstance(error, RuntimeError) and "alloc" not in str(error):
            raise
        raise ValueError(
            f"There is not enough memory for a model of {len(vocabulary)} words "
            f"({error}). Lower [lm] max_vocab, raise [lm] min_freq, or lower the sizes in "
            "the component's [...model] block."
        ) from error


def _create_vector_model(
    shim: LanguageModelShim, vocabulary: Vocabulary, vectors: Tensor
) -> None:
    """Build a biLM that maps its outputs to word vectors and has no softmax."""
    if not isinstance(shim, BiLMShim):
        raise ValueError(
            "[lm] target_vectors is for a biLM (elmo_tok2vec): the output of an AWD-LSTM is "
            "tied to its embedding. Leave it out."
        )
    with _memory_errors(vocabulary):
        shim.create(vocabulary, n_words=0, target_dim=vectors.shape[1])
    # It predicts no words.
    shim.vocabulary = None


def _create_pipeline(config: Config, component: str) -> Language:
    nlp = util.load_model_from_config(config, auto_fill=True)
    shim = language_model_shim(nlp, component)
    if isinstance(shim, AWDLSTMShim):
        shim.create_tokenizer(nlp.lang)
    return nlp


def _load_pipeline(source: Union[str, Path], config: Config) -> Language:
    nlp = load_pipeline(source)
    for section in ("paths", "corpora"):
        nlp.config[section] = config.get(section, {})
    return nlp


def _build_vocabulary(
    shim: LanguageModelShim, stream: ShardedStream, settings: LMConfig
) -> Vocabulary:
    path = settings.vocab_file
    tokenizer = shim.tokenizer if isinstance(shim, AWDLSTMShim) else None
    if path is None:
        counted, words = count_words(stream), None
        sizes = {"max_size": settings.max_vocab, "min_freq": settings.min_freq}
    else:
        if not path.is_file():
            raise ValueError(
                f"[lm] vocab_file = {path} does not exist. Correct the path."
            )
        words = set(read_vocabulary(path.read_bytes(), str(path)))
        counted = count_words(stream, only=words)
        sizes = {"max_size": 0, "min_freq": 0}
    counts = {**dict.fromkeys(words or (), 0), **counted.counts}
    vocabulary = build_vocabulary(counts, tokenizer, **sizes)
    vocabulary.counts[vocabulary.unknown_id] += counted.n_others
    return vocabulary


def _create_trainer(
    nlp: Language,
    shim: LanguageModelShim,
    vocabulary: Vocabulary,
    streams: Streams,
    settings: LMConfig,
    output: Path,
    workers: Workers,
    **learnt_from: Any,
) -> LanguageModelTrainer:
    return LanguageModelTrainer(
        nlp,
        shim.module,
        vocabulary,
        indexer=shim.indexer if isinstance(shim, BiLMShim) else None,
        train=streams.train,
        dev=streams.dev,
        config=settings,
        output=output,
        workers=workers,
        **learnt_from,
    )
