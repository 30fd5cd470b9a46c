"""`python -m spacy init elmo`: published weights become pipelines."""

from enum import Enum
from pathlib import Path
from typing import List, Optional

from spacy.cli._util import Arg, Opt, init_cli
from wasabi import msg

from ..checkpoints import read_elmo
from ..checkpoints.options import read_text
from ..pipeline.imported import create_elmo_pipeline
from ..pretraining.loop import replace_directory
from ._util import check_directory, user_errors


class InitialState(str, Enum):
    """Values of `--initial-state`."""

    warm = "warm"
    zeros = "zeros"
    carry = "carry"


class Storage(str, Enum):
    """Values of `--storage`."""

    float32 = "float32"
    float16 = "float16"


@init_cli.command("elmo")
def init_elmo_cli(
    lang: str = Arg(..., help="Code of the language, such as en"),
    source: Path = Arg(..., help="Folder, zip, tar.gz, options.json or weights file"),
    output_path: Path = Arg(..., help="Directory of the new pipeline"),
    weights: Optional[Path] = Opt(None, "--weights", "-w", help="Weights file"),
    options: Optional[Path] = Opt(None, "--options", help="options.json"),
    vocab: Optional[Path] = Opt(None, "--vocab", help="Vocabulary file, a word a line"),
    token_embeddings: Optional[Path] = Opt(
        None, "--token-embeddings", help="HDF5 with vectors of the vocabulary's words"
    ),
    initial_state: InitialState = Opt(
        InitialState.warm, "--initial-state", help="What sequences start from"
    ),
    warm_text: Optional[Path] = Opt(
        None, "--warm-text", help="Neutral sentences, a line each, for the warm state"
    ),
    storage: Storage = Opt(Storage.float32, "--storage", help="Type of stored weights"),
    alignment: Optional[Path] = Opt(
        None, "--alignment", help="Matrix that maps the vectors into another language's"
    ),
) -> None:
    """Turn published ELMo weights into a pipeline with an elmo_tok2vec.

    Reads options.json and HDF5 of bilm-tf, AllenNLP and NLPL, the archives of
    AllenNLP models, and the folders of ELMoForManyLangs. What is written is loaded
    by spacy.load and reused by source = "..." in other configs.
    """
    with user_errors():
        check_directory(output_path, "config.cfg")
        imported = read_elmo(
            source,
            options=options,
            weights=weights,
            vocab=vocab,
            token_embeddings=token_embeddings,
        )
        nlp = create_elmo_pipeline(
            lang,
            imported,
            source=source.name,
            initial_state=initial_state.value,
            storage=storage.value,
            warm_text=_read_sentences(warm_text),
            alignment=alignment,
        )
        output_path.parent.mkdir(parents=True, exist_ok=True)
        replace_directory(output_path, nlp.to_disk)
        for note in imported.notes:
            msg.warn(note)
        msg.good(f"Saved the pipeline (a biLM of {imported.format})", str(output_path))


def _read_sentences(path: Optional[Path]) -> Optional[List[str]]:
    if path is None:
        return None
    if not path.is_file():
        raise ValueError(f"There is no file {path} of neutral sentences.")
    lines = read_text(path.read_bytes(), str(path)).splitlines()
    sentences = [line for line in lines if line.strip()]
    if not sentences:
        raise ValueError(f"{path} holds no sentence for the warm state.")
    return sentences
