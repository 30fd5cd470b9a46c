"""Checksums of weight files, as the program `sha256sum` writes and checks them."""

import hashlib
from pathlib import Path
from typing import Dict, Mapping

CHECKSUMS_FILE = "SHA256SUMS"


def write_checksums(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write the checksums of files beside them.

    folder (Path): Their directory.
    contents (Mapping[str, bytes]): What is in each, by its name.
    """
    lines = [f"{_digest(data)}  {name}\n" for name, data in contents.items()]
    (folder / CHECKSUMS_FILE).write_text("".join(lines), encoding="utf-8")


def read_checksums(folder: Path) -> Dict[str, str]:
    """Read what `write_checksums` wrote.

    folder (Path): The directory.
    RETURNS (Dict[str, str]): The checksum of each file by its name; none where earlier
        versions of this package wrote the directory.
    RAISES (ValueError): If it is damaged.
    """
    path = folder / CHECKSUMS_FILE
    if not path.exists():
        return {}
    lines = path.read_text(encoding="utf-8").splitlines()
    pairs = [line.split("  ", 1) for line in lines]
    if any(len(pair) != 2 for pair in pairs):
        raise ValueError(
            f"{path} is damaged: not every line is a checksum and the name of a file. "
            "Copy the pipeline again."
        )
    return {name: checksum for checksum, name in pairs}


def read_checked(path: Path, checksums: Mapping[str, str]) -> bytes:
    """Read a file that has to be the one that was stored.

    path (Path): The file.
    checksums (Mapping[str, str]): What `read_checksums` returned.
    RETURNS (bytes): What is in it.
    RAISES (ValueError): If it is another file, or missing.
    """
    expected = checksums.get(path.name)
    if not path.exists():
        raise ValueError(
            f"{path} is missing: {CHECKSUMS_FILE} lists it. Copy the pipeline again."
        )
    data = path.read_bytes()
    if expected is not None and _digest(data) != expected:
        raise ValueError(
            f"{path} is not the file that was stored there: its sha256 is "
            f"{_digest(data)}, and {CHECKSUMS_FILE} says {expected}. It was damaged, or "
            "it belongs to another pipeline: copy the pipeline again. If you put it there "
            f"on purpose, delete {CHECKSUMS_FILE}."
        )
    return data


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
