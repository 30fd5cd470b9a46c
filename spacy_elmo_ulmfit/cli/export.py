"""`python -m spacy lm export`: language models in the published formats."""

from enum import Enum
from pathlib import Path
from typing import Callable, Dict, NamedTuple, Sequence, Tuple

from spacy.cli._util import Arg, Opt
from wasabi import msg

from ..checkpoints import Checkpoint, write_bilm_tf, write_fastai
from ..checkpoints.bilm_tf_datasets import OPTIONS_FILE
from ..checkpoints.fastai_writer import VOCABULARY_FILE
from ..pipeline.source import find_model, load_pipeline
from ..replacing import replace_directory
from ._util import check_directory, user_errors
from .lm import lm_cli


class ExportFormat(str, Enum):
    """Values of `--format`."""

    bilm_tf = "bilm-tf"
    fastai = "fastai"


class _Exporter(NamedTuple):
    """Which models a format holds, and how it is written.

    kinds (Tuple[str, ...]): Kinds of models.
    mark (str): A file that every output has.
    write (Callable): Takes the folder, the model and a classifier's labels.
    """

    kinds: Tuple[str, ...]
    mark: str
    write: Callable[[Path, Checkpoint, Sequence[str]], None]


def _write_bilm_tf(folder: Path, checkpoint: Checkpoint, labels: Sequence[str]) -> None:
    write_bilm_tf(folder, checkpoint)


_EXPORTERS: Dict[ExportFormat, _Exporter] = {
    ExportFormat.bilm_tf: _Exporter(("bilm",), OPTIONS_FILE, _write_bilm_tf),
    ExportFormat.fastai: _Exporter(
        ("awd_lstm", "ulmfit_classifier"), VOCABULARY_FILE, write_fastai
    ),
}


@lm_cli.command("export")
def export_cli(
    pipeline: str = Arg(..., help="Pipeline with a language model"),
    output_path: Path = Arg(..., help="Folder to write"),
    format: ExportFormat = Opt(..., "--format", "-f", help="Published format"),
) -> None:
    """Write a language model as the published tools read it.

    bilm-tf: options.json and weights.hdf5, which bilm-tf, AllenNLP and simple_elmo
    read, and vocab.txt if the biLM has a vocabulary. fastai: model.pth of an AWD-LSTM
    or of a classifier, encoder.pth, vocab.pkl, and config.json with the sizes.
    """
    with user_errors():
        exporter = _EXPORTERS[format]
        check_directory(output_path, exporter.mark)
        nlp = load_pipeline(pipeline)
        found = find_model(nlp, exporter.kinds, source=pipeline)
        labels = getattr(nlp.get_pipe(found.name), "labels", ())

        def write(folder: Path) -> None:
            folder.mkdir(parents=True)
            exporter.write(folder, found.checkpoint(), labels)

        replace_directory(output_path, write)
        msg.good(f"Saved the language model ({format.value})", str(output_path))
