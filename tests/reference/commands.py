"""Commands of `python -m spacy`, run inside the test's own process."""

from typing import Any

import torch
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_elmo_ulmfit.cli  # noqa: F401  # registers the commands


def run(*arguments: Any, code: int = 0) -> str:
    """Run a command, check its exit code, and return what it printed in one line."""
    precision = torch.get_float32_matmul_precision()
    try:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    finally:
        # A command may set what only its own process should have.
        torch.set_float32_matmul_precision(precision)
    printed = " ".join(result.output.split())
    # An error that is not the command's own way to exit would be a traceback.
    expected = (type(None), SystemExit)
    assert isinstance(result.exception, expected), repr(result.exception)
    assert result.exit_code == code, printed
    return printed
