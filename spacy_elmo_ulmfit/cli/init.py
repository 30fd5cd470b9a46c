"""`python -m spacy init elmo` and `init ulmfit`: published weights become pipelines."""

from enum import Enum
from pathlib import Path
from typing import List, Optional

from spacy.cli._util import Arg, Opt, init_cli
from wasabi import msg

from ..checkpoints import read_elmo, read_ulmfit
from ..checkpoints.options import read_text
from ..modules.awd_lstm import BACKWARD, FORWARD
from ..pipeline.imported import create_elmo_pipeline, create_ulmfit_pipeline
from ..replacing import replace_directory
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
    int8 = "int8"


class Tokens(str, Enum):
    """Values of `--tokens`."""

    v2 = "v2"
    v1 = "v1"
    v07 = "v0.7"
    spm = "spm"
    doc = "doc"
    words = "words"


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
        replace_directory(output_path, nlp.to_disk)
        for note in imported.notes:
            msg.warn(note)
        msg.good(f"Saved the pipeline (a biLM of {imported.format})", str(output_path))


@init_cli.command("ulmfit")
def init_ulmfit_cli(
    lang: str = Arg(..., help="Code of the language, such as en"),
    source: Path = Arg(..., help="Weights file, or a folder, tgz or zip with it"),
    output_path: Path = Arg(..., help="Directory of the new pipeline"),
    vocab: Optional[Path] = Opt(
        None,
        "--vocab",
        help="Vocabulary (.pkl, .json, .txt), if not beside the weights",
    ),
    tokens: Optional[Tokens] = Opt(
        None, "--tokens", help="Token rules, if not those of the weights' time"
    ),
    labels: str = Opt(
        "", "--labels", help="A classifier's labels, in its order: a,b,c"
    ),
    multilabel: bool = Opt(
        False, "--multilabel", help="Its labels do not exclude each other"
    ),
    backward: bool = Opt(False, "--backward", help="The model reads text from its end"),
    storage: Storage = Opt(Storage.float32, "--storage", help="Type of stored weights"),
) -> None:
    """Turn published AWD-LSTM weights into a pipeline.

    Reads what fastai 0.7, v1 and v2 save (language models, encoders and text
    classifiers), MultiFiT's models, and state dicts of awd-lstm-lm; which it is follows
    from the weights. A language model becomes an awd_lstm_tok2vec, a classifier an
    ulmfit_textcat.
    """
    with user_errors():
        check_directory(output_path, "config.cfg")
        names = [label.strip() for label in labels.split(",") if label.strip()]
        imported = read_ulmfit(
            source,
            vocab=vocab,
            tokens=None if tokens is None else tokens.value,
            labels=names,
            direction=BACKWARD if backward else FORWARD,
        )
        nlp = create_ulmfit_pipeline(
            lang,
            imported,
            source=source.name,
            labels=names,
            multilabel=multilabel,
            storage=storage.value,
        )
        replace_directory(output_path, nlp.to_disk)
        for note in imported.notes:
            msg.warn(note)
        msg.good(
            f"Saved the pipeline ({imported.format}, tokens {imported.tokens})",
            str(output_path),
        )


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
