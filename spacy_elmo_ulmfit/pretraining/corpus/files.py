"""Text files: finding, opening and reading them, compressed or not."""

import glob
import gzip
import importlib
import json
import lzma
import sys
import zlib
from pathlib import Path
from typing import IO, Any, Iterator, List, Tuple, cast

from spacy.tokens import DocBin
from spacy.util import logger

TEXT_SUFFIXES = (".txt", ".jsonl")
DOCBIN_SUFFIX = ".spacy"
# Python's own module, or what stands in for it in older versions.
ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
_SUFFIXES = (*TEXT_SUFFIXES, DOCBIN_SUFFIX)
_COMPRESSIONS = (".gz", ".xz", ".zst")
_KNOWN = f"{', '.join(_SUFFIXES[:-1])} or {_SUFFIXES[-1]}"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def find_files(path: Path) -> List[Path]:
    """Find the files of a corpus.

    path (Path): A file, a folder, or a pattern such as `texts/*.txt.gz`.
    RETURNS (List[Path]): The files in alphabetical order; those of a folder, at any
        depth, as far as their names end as those of texts do.
    RAISES (ValueError): If there are none, or one is of another type.
    """
    if path.is_dir():
        files = sorted(
            file for file in path.rglob("*") if base_suffix(file) and file.is_file()
        )
        if not files:
            raise ValueError(f"The folder {path} holds no {_KNOWN} file.")
        return files
    if path.exists():
        files = [path]
    else:
        files = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
    if not files:
        raise ValueError(f"There is no text at {path}. Correct the path.")
    for file in files:
        if not base_suffix(file):
            raise ValueError(
                f"{file} is not a text file this reader knows: its name must end in "
                f"{_KNOWN}, with {', '.join(_COMPRESSIONS)} after it if it is compressed."
            )
    return files


def base_suffix(path: Path) -> str:
    """Return `.txt`, `.jsonl` or `.spacy`, or nothing for other files."""
    name = path
    if name.suffix in _COMPRESSIONS:
        name = name.with_suffix("")
    return name.suffix if name.suffix in _SUFFIXES else ""


def read_texts(path: Path) -> Iterator[str]:
    """Read the texts of a `.txt` or `.jsonl` file; lines without any are left out.

    path (Path): The file.
    YIELDS (str): A text per line, without the white space around it.
    RAISES (ValueError): If the file is damaged, binary or not UTF-8, or a line of JSON
        has no text. File and line are named.
    """
    is_json = base_suffix(path) == ".jsonl"
    n_texts = 0
    for number, line in _read_lines(path):
        for text in line.split("\r"):
            text = text.strip()
            if text and is_json:
                text = _json_text(text, path, number)
            if text:
                n_texts += 1
                yield text
    if not n_texts:
        logger.warning("%s holds no text", path)


def read_docbin(path: Path) -> DocBin:
    """Read a `.spacy` file, compressed or not.

    path (Path): The file.
    RETURNS (DocBin): Its documents.
    RAISES (ValueError): If it is damaged or of another format.
    """
    try:
        with _open(path) as file:
            return DocBin().from_bytes(file.read())
    except (*_damages(), ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged or no {DOCBIN_SUFFIX} file: {error}. Write or copy it "
            "again."
        ) from error


def _read_lines(path: Path) -> Iterator[Tuple[int, str]]:
    """Yield the lines of a file with their numbers, from 1."""
    number = 0
    try:
        with _open(path) as file:
            for number, line in enumerate(file, 1):
                if number == 1:
                    line = line.removeprefix(_BYTE_ORDER_MARK)
                text = line.decode("utf-8")
                if "\0" in text:
                    raise ValueError(
                        f"{path} is not a text: line {number} holds a NUL byte. If it is "
                        "UTF-16, convert it: iconv -f UTF-16 -t UTF-8"
                    )
                yield number, text
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8: {error.reason} in line {number}. Convert it, for "
            "example with: iconv -f ISO-8859-1 -t UTF-8"
        ) from error
    except _damages() as error:
        raise ValueError(f"{path} is damaged after line {number}: {error}.") from error


def _json_text(line: str, path: Path, number: int) -> str:
    try:
        return json.loads(line)["text"].strip()
    except (AttributeError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(
            f'{path}, line {number}: expected a JSON object with a "text" field.'
        ) from error


def _open(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast(IO[bytes], gzip.open(path, "rb"))
    if path.suffix == ".xz":
        return lzma.open(path, "rb")
    if path.suffix == ".zst":
        return _zstd(path).open(path, "rb")
    return path.open("rb")


def _zstd(path: Path) -> Any:
    try:
        return importlib.import_module(ZSTD)
    except ImportError as error:
        raise ValueError(
            f"To read {path}, install what reads Zstandard: "
            "pip install 'spacy-elmo-ulmfit[zstd]', or compress it with gzip."
        ) from error


def _damages() -> Tuple[Any, ...]:
    """Return what openers raise for damaged files."""
    zstd = sys.modules.get(ZSTD)
    known = (EOFError, OSError, lzma.LZMAError, zlib.error)
    return (*known, zstd.ZstdError) if zstd else known
