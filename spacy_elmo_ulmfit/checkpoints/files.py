"""Files of published models: in a folder, a zip or a tar archive, never unpacked."""

import hashlib
import io
import tarfile
import zipfile
from fnmatch import fnmatchcase as fnmatch
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Dict, List, Optional, Protocol, Sequence

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_HTML_STARTS = (b"<!doctype html", b"<html")

# SHA-256 of files whose publishers' checksums are known.
PUBLISHED_CHECKSUMS = {
    "elmo_2x1024_128_2048cnn_1xhighway_weights.hdf5": (
        "747ba97abce8a5f446558369e10bb0f7931437a46867476fdd156f5d7f576229"
    ),
}


class SourceFiles(Protocol):
    """The files that a published model consists of.

    path (Path): Where they are, for error messages.
    names (List[str]): Their names, relative to the path.
    """

    path: Path
    names: List[str]

    def open(self, name: str) -> BinaryIO:
        """Open one of them for reading."""


class FolderFiles:
    """Files of a folder, or some files given one by one.

    path (Path): The folder.
    files (Optional[Dict[str, Path]]): The files by name; by default all of the folder.
    """

    def __init__(self, path: Path, files: Optional[Dict[str, Path]] = None) -> None:
        self.path = path
        if files is None:
            levels = ("*", "*/*", "*/*/*")
            paths = [p for level in levels for p in sorted(path.glob(level))]
            files = {p.relative_to(path).as_posix(): p for p in paths if p.is_file()}
        self._files = files
        self.names = list(files)

    def open(self, name: str) -> BinaryIO:
        """See `SourceFiles.open`."""
        return self._files[name].open("rb")


class ZipFiles:
    """Files of a zip archive.

    path (Path): The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with zipfile.ZipFile(path) as archive:
            self.names = [n for n in archive.namelist() if not n.endswith("/")]
        _check_names(path, self.names)

    def open(self, name: str) -> BinaryIO:
        """See `SourceFiles.open`."""
        try:
            with zipfile.ZipFile(self.path) as archive:
                return io.BytesIO(archive.read(name))
        except (zipfile.BadZipFile, RuntimeError, OSError, EOFError) as error:
            raise ValueError(_damaged(f"{self.path}/{name}", error)) from error


class TarFiles:
    """Files of a tar archive, compressed or not.

    path (Path): The archive.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with tarfile.open(path) as archive:
                members = archive.getmembers()
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(_damaged(str(path), error)) from error
        others = [m.name for m in members if not (m.isfile() or m.isdir())]
        if others:
            raise ValueError(
                f"{path} has a link or a device in it ({others[0]}), which is not read. "
                "Pack the files themselves, or unpack the archive and give the folder."
            )
        self.names = [member.name for member in members if member.isfile()]
        _check_names(path, self.names)

    def open(self, name: str) -> BinaryIO:
        """See `SourceFiles.open`."""
        try:
            with tarfile.open(self.path) as archive:
                member = archive.extractfile(name)
                return io.BytesIO(b"" if member is None else member.read())
        except (tarfile.TarError, OSError, EOFError) as error:
            raise ValueError(_damaged(f"{self.path}/{name}", error)) from error


class CombinedFiles:
    """Files of a source with others that were given one by one.

    files (SourceFiles): The source.
    given (Sequence[Path]): The other files; their names are their absolute paths.
    """

    def __init__(self, files: SourceFiles, given: Sequence[Path]) -> None:
        self.path = files.path
        self._files = files
        self._given = {absolute_name(path): path for path in given}
        self.names = [*self._given, *files.names]

    def open(self, name: str) -> BinaryIO:
        """See `SourceFiles.open`."""
        if name in self._given:
            return self._given[name].open("rb")
        return self._files.open(name)


def absolute_name(path: Path) -> str:
    """Return the name of a file that was given by itself."""
    return path.absolute().as_posix()


def open_source(path: Path) -> SourceFiles:
    """Look into a folder or an archive; a single file counts as a folder of one.

    path (Path): The folder, zip, tar or file.
    RETURNS (SourceFiles): The files.
    RAISES (ValueError): If there is nothing, or an archive is damaged or has names
        that lead out of it.
    """
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise ValueError(f"There is no file or folder {path}. Correct the path.")
    with path.open("rb") as file:
        check_start(file, str(path))
    # A torch file is a zip archive too, and an HDF5 file is none.
    if path.suffix in (".zip", ".npz"):
        if not zipfile.is_zipfile(path):
            raise ValueError(_damaged(str(path), "not a zip archive"))
        return ZipFiles(path)
    if path.name.endswith((".tar", ".tar.gz", ".tgz")):
        return TarFiles(path)
    return FolderFiles(path.parent, {path.name: path})


def check_start(file: BinaryIO, name: str) -> None:
    """Make sure that a file is not something else under its name.

    file (BinaryIO): The file, at its start, where it is left.
    name (str): Its name, for error messages.
    RAISES (ValueError): If it is empty, a Git LFS pointer or a web page.
    """
    start = file.read(512)
    file.seek(0)
    if not start:
        raise ValueError(f"{name} is empty. Copy or download it again.")
    if start.startswith(_LFS_POINTER):
        raise ValueError(
            f"{name} is a Git LFS pointer, not the file itself. Fetch the file with "
            "'git lfs pull' in the repository it comes from."
        )
    if start.lstrip().lower().startswith(_HTML_STARTS):
        raise ValueError(
            f"{name} is an HTML page, not the file itself: the download led to an error "
            "page. Download the file again."
        )


def find_names(files: SourceFiles, *patterns: str) -> List[str]:
    """Return the files that match the first pattern that any file matches.

    Files that lie outermost go before all others, whichever pattern they match.

    files (SourceFiles): The files.
    patterns (str): Patterns such as `"*options.json"` for the last part of a name.
    RETURNS (List[str]): Their names, in alphabetical order.
    """
    for depth in sorted({_depth(name) for name in files.names}):
        level = sorted(name for name in files.names if _depth(name) == depth)
        for pattern in patterns:
            found = [
                name for name in level if fnmatch(PurePosixPath(name).name, pattern)
            ]
            if found:
                return found
    return []


def _depth(name: str) -> int:
    # A file that was given by itself comes first, wherever it is.
    return -1 if name.startswith("/") else name.count("/")


def find_name(files: SourceFiles, *patterns: str) -> Optional[str]:
    """Return the first file of `find_names`, or `None`."""
    return next(iter(find_names(files, *patterns)), None)


def find_only(files: SourceFiles, option: str, *patterns: str) -> Optional[str]:
    """Return the file of `find_names`, or `None`; several are an error.

    files (SourceFiles): The files.
    option (str): The command's option that names the file.
    patterns (str): See `find_names`.
    RETURNS (Optional[str]): The name.
    RAISES (ValueError): If there are several.
    """
    found = find_names(files, *patterns)
    if len(found) > 1:
        raise ValueError(
            f"{files.path} has several files that could be meant "
            f"({', '.join(found[:3])}). Name one by {option}."
        )
    return next(iter(found), None)


def read_bytes(files: SourceFiles, name: str) -> bytes:
    """Read a file, or say what it is instead."""
    with files.open(name) as file:
        check_start(file, full_name(files, name))
        return file.read()


def full_name(files: SourceFiles, name: str) -> str:
    """Return a file's name as error messages show it."""
    return str(files.path / name)


def checksum_warning(file: BinaryIO, name: str) -> Optional[str]:
    """Compare a file with the published one of its name.

    file (BinaryIO): The file, at its start, where it is left.
    name (str): Its name.
    RETURNS (Optional[str]): A warning if they differ.
    """
    expected = PUBLISHED_CHECKSUMS.get(PurePosixPath(name).name)
    if expected is None:
        return None
    digest = hashlib.sha256()
    while block := file.read(2**20):
        digest.update(block)
    file.seek(0)
    if digest.hexdigest() == expected:
        return None
    return (
        f"{name} has another checksum (sha256 {digest.hexdigest()}) than the published file of "
        f"that name ({expected}): it was changed or cut off. Download it again, unless "
        "you know better."
    )


def _check_names(path: Path, names: List[str]) -> None:
    for name in names:
        parts = PurePosixPath(name.replace("\\", "/"))
        if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0]:
            raise ValueError(
                f"{path} has a file whose name leads out of it ({name}), so it is not "
                "read. Get the archive from where it was published."
            )


def _damaged(name: str, error: object) -> str:
    reason = str(error).split("\n")[0].rstrip(":")
    return f"{name} is damaged ({reason}). Was it copied completely?"
