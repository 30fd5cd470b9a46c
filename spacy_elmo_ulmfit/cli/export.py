"""`python -m spacy lm export`: language models in the published formats."""

from enum import Enum
from pathlib import Path
from typing import Callable, Dict

from spacy.cli._util import Arg, Opt
from wasabi import msg

from ..checkpoints import Checkpoint, write_bilm_tf
from ..checkpoints.bilm_tf import OPTIONS_FILE
from ..pipeline.source import load_language_model
from ..pretraining.loop import replace_directory
from ._util import check_directory, user_errors
from .lm import lm_cli


class ExportFormat(str, Enum):
    """Values of `--format`."""

    bilm_tf = "bilm-tf"


_KINDS = {ExportFormat.bilm_tf: "bilm"}
_WRITERS: Dict[ExportFormat, Callable[[Path, Checkpoint], None]] = {
    ExportFormat.bilm_tf: write_bilm_tf
}


@lm_cli.command("export")
def export_cli(
    pipeline: str = Arg(..., help="Pipeline with a language model"),
    output_path: Path = Arg(..., help="Folder to write"),
    format: ExportFormat = Opt(..., "--format", "-f", help="Published format"),
) -> None:
    """Write a language model as the published tools read it.

    bilm-tf: options.json and weights.hdf5, which bilm-tf, AllenNLP and simple_elmo
    read, and vocab.txt if the biLM has a vocabulary.
    """
    with user_errors():
        check_directory(output_path, OPTIONS_FILE)
        found = load_language_model(pipeline, _KINDS[format])

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            _WRITERS[format](folder, found.checkpoint())

        output_path.parent.mkdir(parents=True, exist_ok=True)
        replace_directory(output_path, write)
        msg.good(f"Saved the language model ({format.value})", str(output_path))
