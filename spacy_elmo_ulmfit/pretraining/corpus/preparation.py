"""The text of a run, read once, or found on disk as it was read before."""

import contextlib
import hashlib
import shutil
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional

import srsly
from spacy.util import dot_to_object

from ..config import LMConfig, resolve_corpus
from .corpora import corpus_chunks
from .reading import StreamReader
from .shards import ShardedStream, cut_shards, prepare_shards, read_manifest
from .sources import corpus_files, describe_files
from .stream import TokenStream

_FOLDER = "corpus"


class Streams(NamedTuple):
    """The text of a run.

    train (ShardedStream): What is learnt from.
    dev (ShardedStream): What is held out.
    """

    train: ShardedStream
    dev: ShardedStream


class _Source(NamedTuple):
    # A corpus of the config: its reader, and its files where they are known.
    name: str
    reader: Callable[..., Any]
    files: Optional[List[Path]]
    folder: Path


def prepare_streams(
    read: StreamReader, settings: LMConfig, output: Path, *, resume: bool = False
) -> Streams:
    """Read the corpora of a run, unless their shards are there.

    read (StreamReader): Reads as the language model does.
    settings (LMConfig): The settings.
    output (Path): Directory of the run.
    resume (bool): Whether the run goes on, so that its text must not have changed.
    RETURNS (Streams): The text.
    RAISES (ValueError): If a corpus is missing, empty or damaged, or has changed.
    """
    folder = output / _FOLDER
    train = _find(read, settings.train_corpus, folder / "train", resume)
    dev = _find(read, settings.dev_corpus, folder / "dev", resume)
    with _removed_after_errors(folder):
        # The held-out text is short, so what is wrong with it is found first.
        held_out = _prepare(read, dev, settings, resume)
        return Streams(_prepare(read, train, settings, resume), held_out)


def read_shards(
    read: StreamReader,
    reader: Callable[..., Any],
    source: str,
    *,
    shard_tokens: int,
    n_process: int = 1,
) -> Iterator[TokenStream]:
    """Read a corpus, one shard at a time.

    read (StreamReader): Reads as the language model does.
    reader (Callable): The corpus reader.
    source (str): Where the corpus comes from, for error messages.
    shard_tokens (int): Tokens of a shard.
    n_process (int): Number of processes, -1 for as many as there are cores.
    YIELDS (TokenStream): The shards.
    RAISES (ValueError): If there are none.
    """
    chunks = read.read_all(corpus_chunks(reader, read.nlp), n_process)
    empty = True
    for shard in cut_shards(chunks, shard_tokens, read.first_types):
        empty = False
        yield shard
    if empty:
        raise ValueError(
            f"The corpus of {source} is empty: no line with words in it. Check the path "
            "in [corpora] and that the file holds one document per line."
        )


def _find(read: StreamReader, name: str, folder: Path, resume: bool) -> _Source:
    reader = resolve_corpus(read.nlp, name)
    try:
        files = corpus_files(reader)
    except ValueError:
        # The shards of the run are enough to go on.
        if not (resume and read_manifest(folder)):
            raise
        files = None
    return _Source(name, reader, files, folder)


def _prepare(
    read: StreamReader, source: _Source, settings: LMConfig, resume: bool
) -> ShardedStream:
    known = read_manifest(source.folder).get("seen", {})
    seen = describe_files(source.files, known) if source.files else {}
    identity = {
        "reader": _reader_settings(read, source.name),
        "files": {name: file["sha256"] for name, file in seen.items()} or None,
        "shard_tokens": settings.shard_tokens,
        **read.identity(),
    }
    folder = source.folder
    if settings.cache_dir is not None and seen:
        # The folder's name tells what is in it, so that runs can share it.
        digest = hashlib.sha256(srsly.json_dumps(identity, sort_keys=True).encode())
        folder = settings.cache_dir / digest.hexdigest()[:16]

    def cut() -> Iterator[TokenStream]:
        return read_shards(
            read,
            source.reader,
            f"[{source.name}]",
            shard_tokens=settings.shard_tokens,
            n_process=settings.n_process,
        )

    return prepare_shards(folder, identity, cut, seen=seen, resume=resume)


def _reader_settings(read: StreamReader, name: str) -> Dict[str, Any]:
    """Return what the config says about a corpus, but for where it is."""
    section = dot_to_object(read.nlp.config.interpolate(), name)
    return {key: value for key, value in section.items() if key != "path"}


@contextlib.contextmanager
def _removed_after_errors(folder: Path) -> Iterator[None]:
    """Remove a folder, and the one it is in, if they were made for nothing."""
    made = not folder.exists()
    made_parent = not folder.parent.exists()
    try:
        yield
    except BaseException:
        if made:
            shutil.rmtree(folder, ignore_errors=True)
        if made_parent:
            with contextlib.suppress(OSError):
                folder.parent.rmdir()
        raise
