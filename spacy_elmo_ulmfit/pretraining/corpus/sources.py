"""Which files a corpus is made of."""

import hashlib
import os
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional

from spacy.training import Corpus
from spacy.training.corpus import walk_corpus
from spacy.util import ensure_path

from .corpora import RawTextReader

_BLOCK = 2**20


def corpus_files(reader: Callable[..., Any]) -> Optional[List[Path]]:
    """Return the files of a corpus.

    reader (Callable): The reader.
    RETURNS (Optional[List[Path]]): The files, or `None` where the reader is of a kind that
        does not tell them.
    RAISES (ValueError): If there are none.
    """
    if isinstance(reader, RawTextReader):
        return reader.files()
    if isinstance(reader, Corpus) and reader.path is not None:
        return sorted(walk_corpus(ensure_path(reader.path), ".spacy"))
    return None


def describe_files(
    files: List[Path], known: Dict[str, Dict[str, Any]]
) -> Dict[str, Dict[str, Any]]:
    """Compute digests of files.

    files (List[Path]): The files.
    known (Dict[str, Dict[str, Any]]): What this returned before: a file of the same size
        and time is not read again.
    RETURNS (Dict[str, Dict[str, Any]]): `size`, `modified` and `sha256` of each file, by
        its path from the folder that holds them all.
    """
    root = os.path.commonpath([file.parent for file in files])
    names = [file.relative_to(root).as_posix() for file in files]
    return {
        name: _describe(file, known.get(name, {})) for name, file in zip(names, files)
    }


def _describe(file: Path, known: Dict[str, Any]) -> Dict[str, Any]:
    status = file.stat()
    found = {"size": status.st_size, "modified": status.st_mtime_ns}
    if all(known.get(name) == value for name, value in found.items()):
        return known
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while block := stream.read(_BLOCK):
            digest.update(block)
    return {**found, "sha256": digest.hexdigest()}
