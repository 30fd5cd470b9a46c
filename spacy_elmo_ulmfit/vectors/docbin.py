"""Vectors in spaCy's own format: documents whose `._.elmo` is there when they are read."""

from pathlib import Path
from typing import Any, Dict, Iterable, Iterator, Tuple, Union, cast

import numpy
from spacy.tokens import Doc, DocBin
from spacy.util import ensure_path
from spacy.vocab import Vocab

from ..layers.doc_layers import get_doc_layers, remove_doc_layers, set_doc_layers
from .settings import TokenVectors, VectorSettings

_SETTINGS = "spacy_elmo_ulmfit_vectors"


def load_docbin(path: Union[str, Path]) -> DocBin:
    """Read a `.spacy` file, or say what is wrong with it.

    path (Union[str, Path]): The file.
    RETURNS (DocBin): Its documents.
    RAISES (ValueError): If it is missing, damaged or of another format.
    """
    path = ensure_path(path)
    if not path.exists():
        raise ValueError(f"There is no file {path}. Correct the path.")
    try:
        return DocBin().from_disk(path)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged or no .spacy file, perhaps copied only in part. Write "
            "or copy it again."
        ) from error


def write_docbin(path: Path, docs: Iterable[Doc], settings: VectorSettings) -> None:
    """Write documents with their vectors instead of all layers.

    path (Path): The file.
    docs (Iterable[Doc]): Documents that the component has read.
    settings (VectorSettings): What is written of them.
    """
    attributes = settings.attributes()
    name = settings.component
    if settings.choice.reduces:
        # Under the component's own name, listeners would take them for its layers.
        name = f"{name} {settings.choice.name}"
    doc_bin = DocBin(store_user_data=True)
    for doc in docs:
        vectors = settings.vectors(doc)
        remove_doc_layers(doc)
        layers = vectors[None] if settings.choice.reduces else vectors
        set_doc_layers(doc, settings.attribute, name, layers)
        _user_data(doc)[_SETTINGS] = {**attributes, "name": name}
        doc_bin.add(doc)
    doc_bin.to_disk(path)


def read_docbin(path: Path) -> Iterator[TokenVectors]:
    """Read what `write_docbin` wrote.

    path (Path): The file.
    YIELDS (Tuple[List[str], NDArray]): Tokens and vectors of each document.
    RAISES (ValueError): If the file is damaged, or its documents have no vectors.
    """
    for doc, layers, reduced in _read(path, Vocab()):
        yield [token.text for token in doc], layers[0] if reduced else layers


def read_docs(path: Union[str, Path], vocab: Vocab) -> Iterator[Doc]:
    """Read documents from a `.spacy` file of vectors, ready for `.vector`.

    A `DocBin` does not store `doc.tensor`. Here it is the mean of the stored layers
    again, so that `doc.vector`, `token.vector` and `similarity` work.

    path (Union[str, Path]): A `.spacy` file that `lm embed` wrote.
    vocab (Vocab): The vocabulary of the pipeline that goes on with them.
    YIELDS (Doc): The documents, with `doc._.elmo` or `doc._.awd_lstm`.
    RAISES (ValueError): If the file is damaged, or its documents have no vectors.
    """
    for doc, layers, _ in _read(path, vocab):
        doc.tensor = layers.mean(axis=0, dtype=numpy.float32)
        yield doc


def _read(path: Union[str, Path], vocab: Vocab) -> Iterator[Tuple[Doc, Any, bool]]:
    for doc in load_docbin(path).get_docs(vocab):
        settings = _user_data(doc).get(_SETTINGS)
        layers = get_doc_layers(doc, settings["name"]) if settings else None
        if settings is None or layers is None:
            raise ValueError(
                f"{path} has documents without vectors; write it with "
                "'python -m spacy lm embed'."
            )
        yield doc, layers, settings["layers"] != "all"


def _user_data(doc: Doc) -> Dict[str, Any]:
    return cast(Dict[str, Any], doc.user_data)
