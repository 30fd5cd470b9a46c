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
from typing import Dict, Iterable, Mapping, Optional, Tuple

import numpy
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
_Row = Tuple[str, int, int, int, int, int]


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
        self._is_full = False

    def get(self, keys: Iterable[bytes]) -> Dict[bytes, Half]:
        """See `OutputCache.get`; the layers are copies."""
        try:
            # Reading only where the file is write-protected, as SQLite has it.
            with closing(self._connect("rw")) as index:
                return self._find(index, keys)
        except sqlite3.Error:
            # There is no index yet, or a damaged one, which `store` tells of.
            return {}

    def store(self, layers: Mapping[bytes, Half]) -> None:
        """See `OutputCache.store`; training goes on where nothing can be written."""
        if self._is_full:
            return
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with closing(self._connect("rwc")) as index:
                # From here on no other process writes.
                index.execute("BEGIN IMMEDIATE")
                index.execute(_TABLE)
                self._add(index, layers)
                index.execute("COMMIT")
        except (OSError, sqlite3.Error) as error:
            self._stop(f"{self.folder} cannot be written to ({error})")

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
        for key in set(keys):
            row = index.execute(_SELECT, (key,)).fetchone()
            half = None if row is None else self._read(key, row)
            if half is not None:
                found[key] = half
        return found

    def _read(self, key: bytes, row: _Row) -> Optional[Half]:
        """Return the layers a row of the index tells of, unless they are damaged."""
        file, start, *shape, checksum = row
        path = self.folder / file
        end = start + HALF.itemsize * math.prod(shape)
        if min(start, *shape) < 0 or end > _n_bytes(path):
            return None
        half: Half = numpy.zeros(shape, HALF)
        if half.size:
            try:
                # Mapped anew each time: pages of a map that stays count as memory.
                half[...] = numpy.memmap(path, HALF, "r", start, tuple(shape))
            except (OSError, ValueError):
                return None
        return half if _checksum(key, half) == checksum else None

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
        self._is_full = True
        logger.warning(
            "%s. Nothing more is stored; training goes on, and computes in every epoch "
            "what is not there.",
            reason,
        )


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
    return zlib.crc32(half.tobytes(), beginning)


def _n_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
