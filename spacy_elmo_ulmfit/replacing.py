"""Outputs that are written under a temporary name, then put in the old ones' place."""

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any, Callable, Iterator


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name that becomes a file's when nothing went wrong.

    path (Path): The file; its directory is made where there is none.
    YIELDS (Path): Where to write. After an error it is gone, and the old file is there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_directory(path: Path, write: Callable[[Path], Any]) -> None:
    """Write a directory; after an error the old one is there as it was.

    path (Path): The directory; the one it is in is made where there is none.
    write (Callable[[Path], Any]): Writes a directory of the name it is given.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    old = path.with_name(f"{path.name}.old")
    path.parent.mkdir(parents=True, exist_ok=True)
    # A process may have been killed in between.
    _restore(path, old)
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        write(temporary)
        if path.exists():
            path.rename(old)
        temporary.rename(path)
    finally:
        _restore(path, old)
        shutil.rmtree(temporary, ignore_errors=True)


def _restore(path: Path, old: Path) -> None:
    """Put the old directory back, or remove it where there is a new one."""
    if path.exists():
        shutil.rmtree(old, ignore_errors=True)
    elif old.exists():
        old.rename(path)
