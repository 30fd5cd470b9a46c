"""Documents as a pipeline's language model reads them, in bounded memory, in parallel."""

import contextlib
import hashlib
import multiprocessing
from collections import deque
from functools import partial
from multiprocessing.connection import Connection
from typing import (
    Any,
    Callable,
    Deque,
    Dict,
    Iterable,
    Iterator,
    NamedTuple,
    Union,
    cast,
)

import spacy
import torch
from spacy.language import Language
from spacy.pipeline import TrainablePipe
from spacy.tokens import Doc
from thinc.api import CupyOps, get_current_ops

from ...layers.awd_lstm_shim import AWDLSTMShim
from ...layers.shim import LanguageModelShim
from .corpora import Chunk
from .stream import (
    BOUNDARY_TYPES,
    TokenStream,
    bilm_words,
    number_words,
    prepared_docs,
)

# Words that a pipeline may come to know, beyond those that it is loaded with, before
# another one reads on: about 150 MB.
_MAX_STRINGS = 500_000


class StreamReader:
    """Reads documents as the language model of a pipeline does.

    A pipeline remembers every word that it meets. Where it can be loaded again, that is
    done when there are too many of them.

    load (Callable[[], Language]): Returns the pipeline.
    component (str): Name of the language model's component.
    """

    def __init__(self, load: Callable[[], Language], component: str) -> None:
        self.load, self.component = load, component
        self._set_up()

    def __getstate__(self) -> Dict[str, Any]:
        # A process that is not a fork of this one loads its own pipeline.
        return {"load": self.load, "component": self.component}

    def __setstate__(self, state: Dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._set_up()

    def _set_up(self) -> None:
        self.nlp = self.load()
        self._n_strings = len(self.nlp.vocab.strings)
        is_bilm = not isinstance(self._shim, AWDLSTMShim)
        self.first_types = BOUNDARY_TYPES if is_bilm else ()

    @property
    def _shim(self) -> LanguageModelShim:
        return language_model_shim(self.nlp, self.component)

    def __call__(self, chunk: Chunk) -> TokenStream:
        """Read a part of a corpus.

        chunk (Chunk): The part.
        RETURNS (TokenStream): Its tokens.
        """
        docs = prepared_docs(self.nlp, self.component, chunk.docs(self.nlp))
        stream = number_words(map(self._words_of(), docs), self.first_types)
        if len(self.nlp.vocab.strings) > self._n_strings + _MAX_STRINGS:
            self.nlp = self.load()
        return stream

    def read_all(
        self, chunks: Iterable[Chunk], n_process: int = 1
    ) -> Iterator[TokenStream]:
        """Read a corpus.

        chunks (Iterable[Chunk]): Its parts.
        n_process (int): Number of processes, -1 for as many as there are cores. What is
            read does not depend on it.
        YIELDS (TokenStream): The tokens of each part, in order.
        """
        if n_process == -1:
            n_process = multiprocessing.cpu_count()
        if n_process <= 1:
            return map(self, chunks)
        return read_in_processes(self, chunks, n_process)

    def identity(self) -> Dict[str, Any]:
        """Return plain values that differ where texts are read in another way."""
        before = self.nlp.pipe_names[: self.nlp.pipe_names.index(self.component)]
        return {
            "spacy": spacy.__version__,
            "lang": self.nlp.lang,
            "tokenizer": _tokenizer_digest(self.nlp),
            "components": {name: _pipe_digest(self.nlp, name) for name in before},
            "language_model": self._rules(),
        }

    def _words_of(self) -> Callable[[Doc], Iterable[str]]:
        shim = self._shim
        if isinstance(shim, AWDLSTMShim):
            return shim.words_of
        return partial(bilm_words, sequences=self._sequences())

    def _sequences(self) -> Any:
        model = cast(TrainablePipe, self.nlp.get_pipe(self.component)).model
        return model.attrs.get("sequences", "sents")

    def _rules(self) -> Dict[str, Any]:
        shim = self._shim
        if not isinstance(shim, AWDLSTMShim):
            return {"kind": shim.kind, "sequences": self._sequences()}
        tensors = shim.tokenizer.tensors().values()
        parts = [tensor.cpu().numpy().tobytes() for tensor in tensors]
        return {
            "kind": shim.kind,
            "tokens": shim.tokenizer.to_json(),
            "pieces": _digest(*parts) if parts else "",
            "direction": shim.direction,
        }


def language_model_shim(nlp: Language, component: str) -> LanguageModelShim:
    """Return the language model of a component.

    nlp (Language): The pipeline.
    component (str): Name of the component.
    RETURNS (LanguageModelShim): Its shim.
    RAISES (ValueError): If it is missing, or no language model.
    """
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


class _Worker(NamedTuple):
    process: Any
    result: Connection


def read_in_processes(
    read: Callable[[Chunk], TokenStream], chunks: Iterable[Chunk], n_process: int
) -> Iterator[TokenStream]:
    """Read the parts of a corpus side by side.

    Each part has a process of its own, so nothing that reading leaves in memory stays.

    read (Callable[[Chunk], TokenStream]): Reads a part.
    chunks (Iterable[Chunk]): The parts.
    n_process (int): Processes at a time.
    YIELDS (TokenStream): The tokens of each part, in order.
    RAISES (ValueError): If reading a part fails.
    """
    workers: Deque[_Worker] = deque()
    try:
        for chunk in chunks:
            workers.append(_start(read, chunk))
            if len(workers) == n_process:
                yield _finish(workers.popleft())
        while workers:
            yield _finish(workers.popleft())
    finally:
        for worker in workers:
            worker.process.terminate()
            worker.process.join()


def _start(read: Callable[[Chunk], TokenStream], chunk: Chunk) -> _Worker:
    context = _process_context()
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(read, chunk, sender), daemon=True)
    process.start()
    # The other end is the process's own: without it, its death ends the connection.
    sender.close()
    return _Worker(process, receiver)


def _process_context() -> Any:
    """Return how processes are started: not as forks of one that uses a GPU.

    CUDA cannot be used in such a fork, and where a GPU is in use spaCy and thinc do.
    """
    uses_gpu = torch.cuda.is_initialized() or isinstance(get_current_ops(), CupyOps)
    if uses_gpu and "forkserver" in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("forkserver")
    return multiprocessing.get_context()


def _send(
    read: Callable[[Chunk], TokenStream], chunk: Chunk, sender: Connection
) -> None:
    result: Union[TokenStream, Exception]
    try:
        result = read(chunk)
    except Exception as error:
        result = error
    # Nobody waits for it when the command was ended.
    with contextlib.suppress(BrokenPipeError):
        sender.send(result)


def _finish(worker: _Worker) -> TokenStream:
    try:
        result = worker.result.recv()
    except EOFError as error:
        worker.process.join()
        raise ValueError(
            "A process that read the text was ended from outside, with exit code "
            f"{worker.process.exitcode}; perhaps memory ran out. Lower [lm] n_process."
        ) from error
    worker.process.join()
    if isinstance(result, Exception):
        raise result
    return result


def _tokenizer_digest(nlp: Language) -> str:
    tokenizer: Any = nlp.tokenizer
    name = type(tokenizer).__qualname__
    if not hasattr(tokenizer, "to_bytes"):
        return name
    return f"{name} {_digest(tokenizer.to_bytes(exclude=['vocab']))}"


def _pipe_digest(nlp: Language, name: str) -> str:
    pipe = nlp.get_pipe(name)
    settings = repr(sorted(nlp.get_pipe_config(name).items()))
    weights = pipe.model.to_bytes() if isinstance(pipe, TrainablePipe) else b""
    return _digest(settings.encode("utf-8"), weights)


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()[:16]
