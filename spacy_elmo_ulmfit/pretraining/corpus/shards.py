"""A corpus on disk, cut into shards of bounded size, each with its own table of words."""

import contextlib
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Iterator, List, Sequence

import srsly
from spacy.util import logger

from ...replacing import replace_directory
from .stream import TokenStream, join_streams

MANIFEST_FILE = "manifest.json"
# Raised when shards are written in another way.
_FORMAT = 1


class ShardedStream:
    """The shards of a corpus, each read from disk when it is asked for.

    path (Path): Their folder.
    manifest (Dict[str, Any]): What `write_shards` wrote about them.
    """

    def __init__(self, path: Path, manifest: Dict[str, Any]) -> None:
        self.path = path
        self._shards: List[Dict[str, Any]] = manifest["shards"]

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, number: int) -> TokenStream:
        stream = TokenStream.load(self.path / self._shards[number]["name"])
        if len(stream.tokens) != self._shards[number]["n_tokens"]:
            raise ValueError(
                f"{self.path / self._shards[number]['name']} has another number of tokens "
                f"than {self.path / MANIFEST_FILE} says. Delete {self.path}, so that the "
                "text is read anew."
            )
        return stream

    def __iter__(self) -> Iterator[TokenStream]:
        return (self[number] for number in range(len(self)))

    @property
    def n_tokens(self) -> int:
        """Number of tokens in all shards."""
        return sum(shard["n_tokens"] for shard in self._shards)

    def fingerprint(self) -> str:
        """Return a short text that changes when the tokens do, or their shards."""
        prints = " ".join(shard["fingerprint"] for shard in self._shards)
        return f"{self.n_tokens}-{zlib.crc32(prints.encode('ascii')):08x}"


def cut_shards(
    chunks: Iterable[TokenStream],
    shard_tokens: int,
    first_types: Sequence[str] = (),
) -> Iterator[TokenStream]:
    """Cut a text into shards; where it is cut does not depend on its chunks.

    chunks (Iterable[TokenStream]): The text, in chunks of any size.
    shard_tokens (int): Tokens of a shard, rounded up to whole documents; the last one
        is between half and one and a half times as long, unless it is the only one.
    first_types (Sequence[str]): Words whose numbers come first in every shard.
    YIELDS (TokenStream): The shards, in the order of the text.
    """
    parts: List[TokenStream] = []
    n_tokens = 0
    for chunk in chunks:
        if not len(chunk.tokens):
            continue
        parts.append(chunk)
        n_tokens += len(chunk.tokens)
        while n_tokens >= 2 * shard_tokens:
            shard, parts = _take(parts, shard_tokens, first_types)
            n_tokens -= len(shard.tokens)
            yield shard
    if n_tokens >= 1.5 * shard_tokens:
        shard, parts = _take(parts, shard_tokens, first_types)
        yield shard
    if parts:
        yield join_streams(parts, first_types)


def _take(
    parts: List[TokenStream], n_tokens: int, first_types: Sequence[str]
) -> "tuple[TokenStream, List[TokenStream]]":
    """Take whole documents from the front until there are enough tokens."""
    taken, rest = [], list(parts)
    while rest and n_tokens > 0:
        part = rest.pop(0)
        if len(part.tokens) > n_tokens:
            # The document in which the last of the tokens stands is the last one.
            n_docs = int(part.doc_starts.searchsorted(n_tokens))
            part, left = part.split(n_docs)
            if len(left.tokens):
                rest.insert(0, left)
        taken.append(part)
        n_tokens -= len(part.tokens)
    return join_streams(taken, first_types), rest


def write_shards(
    path: Path, shards: Iterable[TokenStream], identity: Dict[str, Any]
) -> ShardedStream:
    """Write the shards of a corpus; a kill in the middle leaves what was there before.

    path (Path): Their folder.
    shards (Iterable[TokenStream]): The shards.
    identity (Dict[str, Any]): What they were made of, and how, for their manifest.
    RETURNS (ShardedStream): The shards, on disk.
    """
    entries: List[Dict[str, Any]] = []
    manifest = {"format": _FORMAT, **identity, "shards": entries}

    def write(folder: Path) -> None:
        for number, shard in enumerate(shards):
            name = f"{number:05d}"
            shard.save(folder / name)
            n_docs, n_tokens = len(shard.doc_starts), len(shard.tokens)
            entries.append(
                {
                    "name": name,
                    "n_docs": n_docs,
                    "n_tokens": n_tokens,
                    "n_types": len(shard.types),
                    "fingerprint": shard.fingerprint(),
                }
            )
        srsly.write_json(folder / MANIFEST_FILE, manifest)

    replace_directory(path, write)
    return ShardedStream(path, manifest)


def prepare_shards(
    path: Path,
    identity: Dict[str, Any],
    cut: Callable[[], Iterable[TokenStream]],
    *,
    seen: Dict[str, Any],
    resume: bool = False,
) -> ShardedStream:
    """Return the shards of a corpus: those on disk, if they are still the right ones.

    path (Path): Their folder.
    identity (Dict[str, Any]): What they are made of, and how. Where `files` are `None`,
        it is not known of what: then only a resumed run takes those that are there.
    cut (Callable[[], Iterable[TokenStream]]): Reads the corpus and cuts it.
    seen (Dict[str, Any]): What is written beside it, to recognise files by.
    resume (bool): Whether other shards than those that are there are an error.
    RETURNS (ShardedStream): The shards.
    RAISES (ValueError): If a resumed run would get other shards.
    """
    manifest = read_manifest(path)
    if manifest:
        changes = _changes(manifest, {"format": _FORMAT, **identity})
        if changes and resume:
            raise ValueError(
                f"{path} holds the text of the run that is resumed, and what it was made "
                f"of has changed since: {'; '.join(changes)}. Resume with what the run "
                "began with, or start anew without --resume."
            )
        if not changes and (resume or identity["files"] is not None):
            logger.info("Text: the shards in %s", path)
            return ShardedStream(path, manifest)
        if changes:
            logger.info("Text: read anew, for it changed: %s", "; ".join(changes))
    stream = write_shards(path, cut(), {**identity, "seen": seen})
    logger.info(
        "Text: %d tokens in %d shards in %s", stream.n_tokens, len(stream), path
    )
    return stream


def read_manifest(path: Path) -> Dict[str, Any]:
    """Read what `write_shards` wrote about shards.

    path (Path): Their folder.
    RETURNS (Dict[str, Any]): The identity and the list of shards; nothing if there are none.
    """
    file = path / MANIFEST_FILE
    if not file.exists():
        return {}
    with contextlib.suppress(ValueError):
        manifest = srsly.read_json(file)
        if isinstance(manifest, dict) and "shards" in manifest:
            return manifest
    raise ValueError(
        f"{file} is damaged. Delete {path}, so that the text is read anew."
    )


def _changes(old: Dict[str, Any], new: Dict[str, Any]) -> List[str]:
    """Say which entries differ; those that are unknown now, as texts that are gone, do not."""
    changes = []
    for key, value in new.items():
        before = old.get(key)
        if value is None or before == value:
            continue
        if isinstance(before, dict) and isinstance(value, dict):
            names = sorted({*before, *value})
            differing = [name for name in names if before.get(name) != value.get(name)]
            changes.append(f"{key} ({', '.join(differing)})")
        else:
            changes.append(f"{key} = {before!r}, now {value!r}")
    return changes
