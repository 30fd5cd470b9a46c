"""`python -m spacy lm embed`: a language model's vectors of a corpus, in a file."""

import sys
from pathlib import Path
from typing import Iterable, Iterator, Optional, Tuple, Union

import torch
import tqdm
from spacy.cli._util import Arg, Opt
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from ..pipeline.language_model import LanguageModelTok2Vec
from ..pipeline.source import load_pipeline
from ..pretraining.corpus.corpora import RawTextReader
from ..vectors.choices import LayerChoice
from ..vectors.docbin import load_docbin
from ..vectors.encoder import encode, find_encoder, learnt_mix
from ..vectors.settings import VectorSettings
from ..vectors.store import DOCBIN_SUFFIXES, check_output, write_vectors
from ._util import prepare, user_errors
from .lm import lm_cli


@lm_cli.command("embed")
def embed_cli(
    pipeline: str = Arg(..., help="Pipeline with a language model"),
    input_path: Path = Arg(..., help="Text, one document per line, or a .spacy file"),
    output_path: Path = Arg(..., help="File to write: .hdf5, .h5 or .spacy"),
    layers: str = Opt("all", help="all, top, average, layer:K, concat or mix"),
    weights: Optional[str] = Opt(None, help="Shares of a mix, such as 0.2,0.5,0.3"),
    gamma: Optional[float] = Opt(None, help="Scale of a mix  [default: 1.0]"),
    from_component: Optional[str] = Opt(
        None, help="Component whose learnt mix of the layers is used"
    ),
    component: Optional[str] = Opt(
        None, help="The language model's component, where there are several"
    ),
    dtype: str = Opt("float32", help="float32 or float16"),
    batch_size: int = Opt(128, min=1, help="Documents computed at a time"),
    n_process: int = Opt(1, help="Number of processes"),
    code_path: Optional[Path] = Opt(
        None, "--code", "-c", help="Python file with functions to import"
    ),
    use_gpu: int = Opt(-1, "--gpu-id", "-g", help="GPU ID or -1 for CPU"),
    threads: int = Opt(0, "--threads", help="CPU threads, 0 for all cores"),
) -> None:
    """Write a language model's vectors of every token of a corpus to a file.

    Documents are read and written one after the other. In HDF5 they are the datasets
    "0", "1", ... with their tokens in the group "tokens"; a .spacy file holds
    documents whose doc._.elmo is there when they are loaded.
    """
    with user_errors():
        check_output(output_path)
        mix = None if weights is None else _parse_weights(weights)
        _check_mix(layers, mix, gamma, from_component)
        prepare(use_gpu, code_path, False, threads)
        # Vectors are what nlp(text) gives, to the last digits of float32.
        torch.set_float32_matmul_precision("highest")
        nlp = load_pipeline(pipeline)
        encoder = find_encoder(nlp, component, source=pipeline)
        if from_component is not None:
            mix, gamma = learnt_mix(nlp, encoder, from_component)
        choice = LayerChoice(layers, mix or (), 1.0 if gamma is None else gamma)
        choice.check(encoder.model.attrs["n_outputs"])
        settings = _settings(nlp, encoder, choice, dtype)
        inputs, total = _read_input(input_path, nlp)
        docs = encode(nlp, encoder, inputs, batch_size=batch_size, n_process=n_process)
        counts = _Counts()
        bar = tqdm.tqdm(docs, total=total, unit=" docs", file=sys.stderr)
        write_vectors(output_path, counts.count(bar), settings)
        msg.good(
            f"Saved the vectors of {counts.n_docs:,} documents, {counts.n_tokens:,} "
            "tokens",
            str(output_path),
        )


class _Counts:
    """Numbers of documents and tokens that went by."""

    def __init__(self) -> None:
        self.n_docs = 0
        self.n_tokens = 0

    def count(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        """Count documents on their way."""
        for doc in docs:
            self.n_docs += 1
            self.n_tokens += len(doc)
            yield doc


def _parse_weights(text: str) -> Tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ValueError(
            f"--weights {text}: expected numbers with commas between, such as "
            "0.2,0.5,0.3."
        ) from error


def _check_mix(
    layers: str,
    weights: Optional[Tuple[float, ...]],
    gamma: Optional[float],
    from_component: Optional[str],
) -> None:
    given = weights is not None or gamma is not None or from_component is not None
    if layers != "mix" and given:
        raise ValueError(
            "--weights, --gamma and --from-component are about a mix of layers: add "
            "--layers mix, or leave them out."
        )
    if layers == "mix" and (weights is None) == (from_component is None):
        raise ValueError(
            "--layers mix needs either --weights, each layer's share, or "
            "--from-component, a component that has learnt its own."
        )
    if from_component is not None and gamma is not None:
        raise ValueError(
            "--from-component brings its own gamma along: leave out --gamma."
        )


def _settings(
    nlp: Language, encoder: LanguageModelTok2Vec, choice: LayerChoice, dtype: str
) -> VectorSettings:
    return VectorSettings(
        pipeline=f"{nlp.meta['lang']}_{nlp.meta['name']}",
        pipeline_version=str(nlp.meta["version"]),
        component=encoder.name,
        attribute=encoder.attribute,
        choice=choice,
        dtype=dtype,
    )


def _read_input(
    path: Path, nlp: Language
) -> Tuple[Iterable[Union[str, Doc]], Optional[int]]:
    """Return the documents of a file, and their number where it is known."""
    if path.suffix not in DOCBIN_SUFFIXES:
        return RawTextReader(path).texts(), None
    doc_bin = load_docbin(path)
    return doc_bin.get_docs(nlp.vocab), len(doc_bin)
