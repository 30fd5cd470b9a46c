"""What is wrong with files, and what a message about it must be."""

from pathlib import Path
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import pytest

from ..reference.commands import run

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:747ba97abce8a5f446558369e10bb0f7931437a46867476fdd156f5d7f576229\n"
    b"size 54402456\n"
)
HTML = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head></html>\n"


class Bad(NamedTuple):
    """What a user names, and what the answer must name.

    source (Path): A folder or file.
    words (Sequence[str]): First the file, then what else helps; in any case.
    options (Dict[str, Any]): Options of the command, arguments of the reader.
    """

    source: Path
    words: Sequence[str]
    options: Dict[str, Any] = {}


Maker = Callable[[Path], Bad]


class Bomb:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def check_sentence(message: str, words: Sequence[str]) -> None:
    """Make sure that a message is short, whole, and names what it is about."""
    for word in words:
        assert word.lower() in message.lower(), message
    assert "\n" not in message and len(message) < 600, message
    assert message.rstrip()[-1] in ".?", message


def tree(folder: Path) -> List[str]:
    """Return all paths in a folder."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def check_refused(read: Callable[..., Any], bad: Bad, folder: Path) -> None:
    """Make sure that a reader refuses bad input in one sentence, and leaves it alone."""
    before = tree(folder)
    with pytest.raises(ValueError) as error:
        read(bad.source, **bad.options)
    check_sentence(str(error.value), bad.words)
    assert tree(folder) == before


def check_command_refuses(command: str, bad: Bad, tmp_path: Path) -> None:
    """Make sure that `init` prints the sentence, without a traceback, and writes nothing."""
    before = tree(tmp_path)
    given: List[Any] = []
    for name, value in bad.options.items():
        value = ",".join(value) if isinstance(value, (list, tuple)) else value
        given += [f"--{name}", value] if value else []
    printed = run("init", command, "en", bad.source, tmp_path / "out", *given, code=1)
    assert "Traceback" not in printed
    # The terminal breaks lines where it likes, also in the middle of a path.
    squeezed = printed.replace(" ", "").lower()
    for word in bad.words:
        assert word.replace(" ", "").lower() in squeezed, printed
    assert tree(tmp_path) == before
