"""Raw text from files: the reader that LM configs name in `[corpora]`."""

from itertools import islice
from pathlib import Path
from typing import (
    Callable,
    Iterable,
    Iterator,
    List,
    NamedTuple,
    Optional,
    Protocol,
    Union,
    cast,
)

from spacy.language import Language
from spacy.tokenizer import Tokenizer
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import ensure_path, registry
from spacy.vocab import Vocab

from .files import DOCBIN_SUFFIX, base_suffix, find_files, read_docbin, read_texts

# Characters of the texts, or tokens of the documents, that are read at a time.
_CHUNK_CHARACTERS = 2_000_000
_CHUNK_TOKENS = 400_000


class Chunk(Protocol):
    """A part of a corpus that is read at a time."""

    def docs(self, nlp: Language) -> Iterator[Doc]:
        """Yield its documents, tokenised by the pipeline where they are not yet."""


class TextChunk(NamedTuple):
    """Texts, to be tokenised.

    texts (List[str]): The texts.
    """

    texts: List[str]

    def docs(self, nlp: Language) -> Iterator[Doc]:
        """See `Chunk.docs`."""
        return cast(Tokenizer, nlp.tokenizer).pipe(self.texts)


class DocBinChunk(NamedTuple):
    """The documents of a `.spacy` file.

    path (Path): The file.
    limit (Optional[int]): Most documents to take, `None` for all.
    """

    path: Path
    limit: Optional[int]

    def docs(self, nlp: Language) -> Iterator[Doc]:
        """See `Chunk.docs`."""
        return islice(read_docbin(self.path).get_docs(nlp.vocab), self.limit)


class DocChunk(NamedTuple):
    """Documents that are there.

    ready (List[Doc]): The documents.
    """

    ready: List[Doc]

    def docs(self, nlp: Language) -> Iterator[Doc]:
        """See `Chunk.docs`."""
        return iter(self.ready)


@registry.readers("spacy-elmo-ulmfit.RawText.v1")
def create_raw_text_reader(
    path: Optional[Path], limit: int = 0
) -> Callable[[Language], Iterator[Doc]]:
    """Read raw text, one document per line, or documents that are tokenised already.

    path (Optional[Path]): A `.txt` file with a document per line, a `.jsonl` file with
        a `text` field, or a `.spacy` file (`DocBin`), whose tokens and sentences are
        kept; also `.gz`, `.xz` or `.zst`; or a folder of such files, or a pattern.
    limit (int): Most documents to read, 0 for all.
    RETURNS (Callable[[Language], Iterator[Doc]]): The reader.
    """
    return RawTextReader(path, limit=limit)


class RawTextReader:
    """Iterate over the documents of files.

    path (Optional[Path]): See `create_raw_text_reader`.
    limit (int): Most documents to read, 0 for all.
    """

    def __init__(self, path: Optional[Path], *, limit: int = 0) -> None:
        self.path = ensure_path(path)
        self.limit = limit

    def __call__(self, nlp: Language) -> Iterator[Doc]:
        """Yield documents, tokenised by the pipeline's tokenizer."""
        for chunk in self.chunks():
            yield from chunk.docs(nlp)

    def texts(self) -> Iterator[str]:
        """Yield the texts of documents, empty ones left out.

        RAISES (ValueError): If a file is missing, damaged, of another type or not
            UTF-8, or a line of JSON has no text.
        """
        for chunk in self.chunks():
            if isinstance(chunk, TextChunk):
                yield from chunk.texts
            else:
                vocab = Vocab()
                docs = read_docbin(chunk.path).get_docs(vocab)
                yield from (doc.text for doc in islice(docs, chunk.limit))

    def files(self) -> List[Path]:
        """Return the files in the order they are read.

        RAISES (ValueError): If there are none.
        """
        if self.path is None:
            raise ValueError(
                "A raw text corpus has no path. Set it in the config, for example "
                "with --paths.train FILE."
            )
        return find_files(self.path)

    def chunks(self) -> Iterator["Union[TextChunk, DocBinChunk]"]:
        """Yield the corpus in parts of bounded size; a `.spacy` file is a part.

        RAISES (ValueError): See `texts`.
        """
        left = self.limit or None
        texts: List[str] = []
        n_characters = 0
        for file in self.files():
            if left == 0:
                break
            if base_suffix(file) == DOCBIN_SUFFIX:
                if texts:
                    yield TextChunk(texts)
                    texts, n_characters = [], 0
                yield DocBinChunk(file, left)
                if left is not None:
                    left -= min(left, len(read_docbin(file)))
                continue
            for text in islice(read_texts(file), left):
                texts.append(text)
                n_characters += len(text)
                if n_characters >= _CHUNK_CHARACTERS:
                    yield TextChunk(texts)
                    texts, n_characters = [], 0
                if left is not None:
                    left -= 1
        if texts:
            yield TextChunk(texts)


def corpus_chunks(
    reader: Callable[[Language], Iterable[Union[Doc, Example]]], nlp: Language
) -> Iterator[Chunk]:
    """Return a corpus in parts of bounded size.

    reader (Callable): The raw text reader, or any other corpus reader.
    nlp (Language): The pipeline that other readers make documents with.
    YIELDS (Chunk): The parts.
    """
    if isinstance(reader, RawTextReader):
        yield from reader.chunks()
        return
    docs: List[Doc] = []
    n_tokens = 0
    for item in reader(nlp):
        docs.append(item.predicted if isinstance(item, Example) else item)
        n_tokens += len(docs[-1])
        if n_tokens >= _CHUNK_TOKENS:
            yield DocChunk(docs)
            docs, n_tokens = [], 0
    if docs:
        yield DocChunk(docs)
