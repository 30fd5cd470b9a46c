"""What the commands share."""

import contextlib
from pathlib import Path
from typing import Iterator, List, Optional

import torch
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, setup_gpu
from thinc.api import Config
from wasabi import msg

from ..replacing import replacing

# Relative errors of float32; those of bfloat16 are near 1e-3.
_EXACT = 1e-5
CONTEXT = {"allow_extra_args": True, "ignore_unknown_options": True}


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Print errors of the user's making as one sentence, and exit with code 1."""
    try:
        yield
    except ValueError as error:
        # Validation errors of configs are ValueErrors with a text of their own.
        msg.fail("This did not work", str(error).strip(), exits=1)


def check_directory(path: Path, mark: str) -> None:
    """Make sure that a directory to be written replaces nothing but an older output.

    path (Path): The directory.
    mark (str): A file that every output of this kind has.
    RAISES (ValueError): If it is a file, or holds anything else.
    """
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file. Name a directory to write to.")
    if path.is_dir() and any(path.iterdir()) and not (path / mark).exists():
        raise ValueError(
            f"{path} holds other files, which would be lost (an older output has a "
            f"{mark}). Name a new directory."
        )


def prepare(
    use_gpu: int, code_path: Optional[Path], verbose: bool, threads: int = 0
) -> None:
    """Set up logging, imports and the device of a command's own process."""
    util.logger.setLevel("DEBUG" if verbose else "INFO")
    import_code(code_path)
    setup_gpu(use_gpu)
    if threads:
        torch.set_num_threads(threads)
    select_kernels(use_gpu)


def select_kernels(use_gpu: int) -> None:
    """Select the fastest kernels for matrices of this process, which must be ours.

    use_gpu (int): GPU ID or -1 for the CPU.
    """
    # On CPUs without AMX these are of full precision; with AMX it would mean bfloat16.
    # On GPUs it means TensorFloat-32.
    torch.set_float32_matmul_precision("medium")
    if use_gpu < 0 and _matmul_error() > _EXACT:
        torch.set_float32_matmul_precision("highest")


def _matmul_error() -> float:
    """Return how far the CPU's products are from the exact ones, of values up to 1."""
    values = torch.linspace(0.0, 1e5, 256 * 256, device="cpu").sin().view(256, 256)
    exact = values.double() @ values.double()
    return float((values @ values - exact).abs().max() / exact.abs().max())


def load_config(path: Path, extra_args: List[str]) -> Config:
    """Read a config with the overrides given on the command line.

    path (Path): The config, or `-` for standard input.
    extra_args (List[str]): Arguments such as `--lm.max_steps 10`.
    RETURNS (Config): The config, not interpolated.
    """
    if str(path) != "-" and not path.exists():
        raise ValueError(f"There is no config file {path}. Correct the path.")
    overrides = parse_config_overrides(extra_args)
    return util.load_config(path, overrides=overrides, interpolate=False)


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then put it in the old one's place.

    path (Path): The file; its directory is made where there is none.
    text (str): What is written.
    RAISES (ValueError): If there is a directory of that name.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a directory. Give the name of a file in it.")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
