"""What is wrong with files, and what a message about it must be."""

from pathlib import Path
from typing import Any, List, Sequence

LFS_POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:747ba97abce8a5f446558369e10bb0f7931437a46867476fdd156f5d7f576229\n"
    b"size 54402456\n"
)
HTML = b"<!DOCTYPE html>\n<html><head><title>403 Forbidden</title></head></html>\n"


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
