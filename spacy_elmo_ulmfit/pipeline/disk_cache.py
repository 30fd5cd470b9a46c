"""Outputs of a frozen language model on disk, where the next run finds them.

Each process appends to a file of its own. A row of the index says where a document's
layers are; it is committed after they were written, and they are compared with its
checksum whenever they are read. What a killed process, a full disk or another program
leaves behind is therefore computed again, and never taken for layers.
"""

import math
import sqlite3
import uuid
import zlib
from contextlib import closing
from pathlib import Path
from typing import Dict, Iterable, Mapping, Optional, Sequence

import numpy
from numpy.typing import NDArray
from spacy.util import logger

from .cache import HALF, Half

INDEX_FILE = "index.sqlite"
DATA_SUFFIX = ".f16"
# Seconds to wait for another process that is writing to the index.
_PATIENCE = 30.0
_TABLE = """CREATE TABLE IF NOT EXISTS layers (
    key BLOB PRIMARY KEY, file TEXT NOT NULL, start INTEGER NOT NULL,
    n_layers INTEGER NOT NULL, n_rows INTEGER NOT NULL, width INTEGER NOT NULL,
    checksum INTEGER NOT NULL
) WITHOUT ROWID"""
_SELECT = """SELECT file, start, n_layers, n_rows, width, checksum
    FROM layers WHERE key = ?"""
_INSERT = "INSERT OR REPLACE INTO layers VALUES (?, ?, ?, ?, ?, ?, ?)"
Bytes = NDArray[numpy.uint8]


class DiskCache:
    """Documents' layers in a folder that processes may share.

    Nothing is held open between calls, and nothing of what is stored stays in memory.

    folder (Path): The folder, for one state of the weights.
    max_bytes (int): Most bytes of layers in the folder that it is in, which may have
        others for other weights.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self.folder, self.max_bytes = folder, max_bytes
        self._file = f"{uuid.uuid4().hex}{DATA_SUFFIX}"
        self._is_stopped = False

    def get(self, keys: Iterable[bytes]) -> Dict[bytes, Half]:
        """See `OutputCache.get`; the layers are copies."""
        try:
            # Reading only where the file is write-protected, as SQLite has it.
            with closing(self._connect("rw")) as index:
                index.execute("BEGIN")
                return self._find(index, keys)
        except sqlite3.Error:
            # There is no index yet, or a damaged one, which `store` tells of.
            return {}

    def store(self, layers: Mapping[bytes, Half]) -> None:
        """See `OutputCache.store`; training goes on where nothing can be written."""
        if self._is_stopped:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with closing(self._connect("rwc")) as index:
                # As for the layers: an index that the power went off over is not read.
                index.execute("PRAGMA synchronous = OFF")
                # From here on no other process writes.
                index.execute("BEGIN IMMEDIATE")
                index.execute(_TABLE)
                self._add(index, layers)
                index.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self._stop(
                f"{self.folder} cannot be written to: {error}. If it is damaged, delete it"
            )

    def _connect(self, mode: str) -> sqlite3.Connection:
        path = (self.folder / INDEX_FILE).absolute()
        return sqlite3.connect(
            f"{path.as_uri()}?mode={mode}",
            uri=True,
            timeout=_PATIENCE,
            isolation_level=None,
        )

    def _find(
        self, index: sqlite3.Connection, keys: Iterable[bytes]
    ) -> Dict[bytes, Half]:
        found = {}
        # Mapped for this call only: pages of a map that stays count as memory.
        contents: Dict[str, Bytes] = {}
        for key in set(keys):
            row = index.execute(_SELECT, (key,)).fetchone()
            if row is None:
                continue
            file, start, *shape, checksum = row
            if file not in contents:
                contents[file] = _map(self.folder / file)
            half = _cut(contents[file], start, shape)
            if half is not None and _checksum(key, half) == checksum:
                found[key] = half
        return found

    def _add(self, index: sqlite3.Connection, layers: Mapping[bytes, Half]) -> None:
        """Write layers that are not kept to this process's file and to the index."""
        known = self._find(index, layers)
        free = self.max_bytes - self._n_used()
        added = {}
        for key, half in layers.items():
            if key in known:
                continue
            if half.nbytes > free:
                self._stop(
                    f"{self.folder.parent} has reached cache_mb = "
                    f"{self.max_bytes // 2**20}; raise it, or delete the folders in it "
                    "that other weights were cached in"
                )
                break
            added[key] = half
            free -= half.nbytes
        if not added:
            return
        start = _append(
            self.folder / self._file,
            b"".join(half.tobytes() for half in added.values()),
        )
        for key, half in added.items():
            checksum = _checksum(key, half)
            index.execute(_INSERT, (key, self._file, start, *half.shape, checksum))
            start += half.nbytes

    def _n_used(self) -> int:
        return sum(map(_n_bytes, self.folder.parent.glob(f"*/*{DATA_SUFFIX}")))

    def _stop(self, reason: str) -> None:
        self._is_stopped = True
        logger.warning(
            "%s. Nothing more is stored; training goes on, and computes in every epoch "
            "what is not there.",
            reason,
        )


def _map(path: Path) -> Bytes:
    """Map a file, which may not be there, or not be what was written."""
    try:
        return numpy.memmap(path, numpy.uint8, "r")
    except (OSError, ValueError):
        return numpy.zeros(0, numpy.uint8)


def _cut(content: Bytes, start: int, shape: Sequence[int]) -> Optional[Half]:
    """Return a copy of the layers in a file, or `None` if they are not all there."""
    end = start + HALF.itemsize * math.prod(shape)
    if min(start, *shape) < 0 or end > len(content):
        return None
    return numpy.array(content[start:end]).view(HALF).reshape(shape)


def _append(path: Path, data: bytes) -> int:
    """Write at the end of a file, and return where that was.

    Nobody waits for the disk itself: what is lost with the power fails its checksum.
    """
    with path.open("ab") as file:
        start = file.tell()
        file.write(data)
    return start


def _checksum(key: bytes, half: Half) -> int:
    """Return a number that changes with the layers, their shape and their document."""
    beginning = zlib.crc32(key + repr(half.shape).encode("ascii"))
    return zlib.crc32(numpy.ascontiguousarray(half).data, beginning)


def _n_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
