"""What a killed training run needs to go on as if nothing had happened."""

import os
import shutil
import zipfile
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch
from spacy.util import logger

from ...replacing import replacing

CHECKPOINTS = "checkpoints"
_NAME = "[0-9]*.pt"


def checkpoint_files(directory: Path) -> List[Path]:
    """Return the checkpoints of a run, by their names the newest first.

    directory (Path): The run's output directory.
    RETURNS (List[Path]): The files.
    """
    return sorted((directory / CHECKPOINTS).glob(_NAME), reverse=True)


def checkpoint_path(directory: Path, step: int) -> Path:
    """Return the name of a checkpoint.

    directory (Path): The run's output directory.
    step (int): Steps done.
    """
    return directory / CHECKPOINTS / f"{step:010d}.pt"


def save_checkpoint(
    directory: Path, data: Dict[str, Any], *, step: int, keep: int
) -> Path:
    """Write a checkpoint; a kill or an error in the middle leaves the last one whole.

    directory (Path): The run's output directory.
    data (Dict[str, Any]): Tensors and plain types.
    step (int): Steps done, which is the file's name.
    keep (int): Checkpoints to keep, this one among them.
    RETURNS (Path): The file.
    RAISES (ValueError): If it cannot be written.
    """
    path = checkpoint_path(directory, step)
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(data, file)
            file.flush()
            # A file whose name is on the disk before its content is none after a crash.
            os.fsync(file.fileno())
    # torch fails once more, in another way, when it closes what it could not write.
    except (OSError, RuntimeError) as error:
        last = next(iter(checkpoint_files(directory)), None)
        raise ValueError(
            f"{path} could not be written ({_reason(error)}). Make room for it, then go "
            f"on with --resume{f' from {last}' if last else ''}."
        ) from error
    kept = [other for other in checkpoint_files(directory) if other <= path][:keep]
    # Later ones could not be read, or are of a future that did not happen.
    for other in path.parent.glob(f"{_NAME}*"):
        if other not in kept:
            other.unlink()
    return path


def load_checkpoint(directory: Path, *, mmap: bool = False) -> Dict[str, Any]:
    """Read the newest checkpoint that is not damaged; nothing in it is executed.

    directory (Path): The run's output directory.
    mmap (bool): Whether to leave the tensors on the disk until they are used.
    RETURNS (Dict[str, Any]): What `save_checkpoint` wrote.
    RAISES (ValueError): If there is none.
    """
    files = checkpoint_files(directory)
    if not files:
        raise ValueError(
            f"There is nothing to resume in {directory}: it has no {CHECKPOINTS}. "
            "Start without --resume, or correct --output."
        )
    for path in files:
        damage = _damage(path)
        if damage is None:
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
        logger.warning(
            "The checkpoint %s is damaged (%s) and passed over", path, damage
        )
    raise ValueError(
        f"All checkpoints in {directory / CHECKPOINTS} are damaged. Delete that folder "
        "to start anew; [lm] keep_checkpoints keeps more than one."
    )


def remove_checkpoints(directory: Path) -> None:
    """Delete the checkpoints of a run, so that they are not taken for another's.

    directory (Path): The run's output directory.
    """
    shutil.rmtree(directory / CHECKPOINTS, ignore_errors=True)


def _damage(path: Path) -> Optional[str]:
    """Return what is wrong with a file; torch does not look at its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()
    except (OSError, zipfile.BadZipFile) as error:
        return str(error)
    return wrong and f"the checksum of {wrong} is wrong"


def _reason(error: BaseException) -> str:
    """Return what the system said about a failed write."""
    cause: Optional[BaseException] = error
    while cause is not None and not isinstance(cause, OSError):
        cause = cause.__context__
    return str(cause.strerror if cause is not None else error)
