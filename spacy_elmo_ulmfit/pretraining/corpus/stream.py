"""Text as a stream of numbered tokens."""

import zlib
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Sequence, Tuple

import numpy
import srsly
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc

from ...text import BEGIN_SENTENCE, END_SENTENCE, token_sequences
from ...text.sequences import SequenceKind

Tokens = NDArray[numpy.int32]


@dataclass
class TokenStream:
    """The tokens of a text, documents one after the other, with its own table of words.

    types (List[str]): The distinct words.
    tokens (NDArray): Position in `types` of every token. *Shape:* `(n_tokens,)`
    doc_starts (NDArray): Where the documents start. *Shape:* `(n_docs,)`
    """

    types: List[str]
    tokens: Tokens
    doc_starts: NDArray[numpy.int64]

    def counts(self) -> Dict[str, int]:
        """Return how often each word occurs."""
        numbers = numpy.bincount(self.tokens, minlength=len(self.types))
        return dict(zip(self.types, numbers.tolist()))

    def shuffled(self, seed: Sequence[int]) -> Tokens:
        """Return the tokens with the documents in another order.

        seed (Sequence[int]): The order depends on these numbers alone.
        """
        ends = numpy.append(self.doc_starts[1:], len(self.tokens))
        order = numpy.random.default_rng(seed).permutation(len(self.doc_starts))
        pieces = [self.tokens[self.doc_starts[i] : ends[i]] for i in order]
        return numpy.concatenate(pieces)

    def fingerprint(self) -> str:
        """Return a short text that changes when the tokens do."""
        words = zlib.crc32("\n".join(self.types).encode("utf-8", "surrogatepass"))
        return f"{len(self.tokens)}-{zlib.crc32(self.tokens.tobytes(), words):08x}"

    def split(self, n_docs: int) -> Tuple["TokenStream", "TokenStream"]:
        """Return the first documents and the other ones.

        n_docs (int): Number of the first ones.
        """
        starts = self.doc_starts
        edge = int(starts[n_docs]) if n_docs < len(starts) else len(self.tokens)
        return (
            TokenStream(self.types, self.tokens[:edge], starts[:n_docs]),
            TokenStream(self.types, self.tokens[edge:], starts[n_docs:] - edge),
        )

    def save(self, path: Path) -> None:
        """Write the stream to a folder."""
        path.mkdir(parents=True, exist_ok=True)
        numpy.save(path / "tokens.npy", self.tokens)
        numpy.save(path / "doc_starts.npy", self.doc_starts)
        srsly.write_json(path / "types.json", self.types)

    @classmethod
    def load(cls, path: Path) -> "TokenStream":
        """Read a stream that `save` wrote; the tokens stay on disk until used.

        path (Path): The folder.
        RETURNS (TokenStream): The stream.
        RAISES (ValueError): If a file of it is missing or damaged.
        """
        try:
            return cls(
                srsly.read_json(path / "types.json"),
                numpy.load(path / "tokens.npy", mmap_mode="r", allow_pickle=False),
                numpy.load(path / "doc_starts.npy", allow_pickle=False),
            )
        except (OSError, ValueError, EOFError) as error:
            raise ValueError(
                f"The text in {path} is damaged: {error}. Delete {path.parent}, so that "
                "the text is read anew."
            ) from error


def bilm_words(doc: Doc, sequences: SequenceKind = "sents") -> Iterator[str]:
    """Yield what a biLM reads of a document: each sequence after one boundary.

    The boundary stands for `</S>` where it is predicted and for `<S>` where it is
    read (the other way round for the backward model), so that neither model is
    ever asked to predict that a sentence begins.

    doc (Doc): The document.
    sequences (str): What a sequence is; see `token_sequences`.
    YIELDS (str): The words.
    """
    words = [token.text for token in doc]
    for sequence in token_sequences(doc, sequences):
        yield BEGIN_SENTENCE
        yield from (words[i] for i in sequence)


# Words that a biLM's stream has by these numbers, whether they occur or not.
BOUNDARY_TYPES = (BEGIN_SENTENCE, END_SENTENCE)


def prepared_docs(nlp: Language, component: str, docs: Iterable[Doc]) -> Iterator[Doc]:
    """Run the components before the language model, such as a sentencizer.

    nlp (Language): The pipeline.
    component (str): Name of the language model's component.
    docs (Iterable[Doc]): Tokenised documents.
    YIELDS (Doc): The documents as the language model will see them in the pipeline.
    """
    for name, pipe in nlp.pipeline:
        if name == component:
            break
        docs = pipe.pipe(docs) if hasattr(pipe, "pipe") else map(pipe, docs)
    yield from docs


def number_words(
    documents: Iterable[Iterable[str]], first_types: Sequence[str] = ()
) -> TokenStream:
    """Number the words of documents in the order they are first met.

    documents (Iterable[Iterable[str]]): What a language model reads of each document.
        Those of fewer than two words are left out: there is nothing to predict.
    first_types (Sequence[str]): Words whose numbers come first, found or not.
    RETURNS (TokenStream): The stream.
    """
    numbers = {word: i for i, word in enumerate(first_types)}
    tokens, doc_starts = array("i"), array("q")
    for document in documents:
        words = list(document)
        if len(words) < 2:
            continue
        doc_starts.append(len(tokens))
        tokens.extend([numbers.setdefault(word, len(numbers)) for word in words])
    return TokenStream(
        list(numbers),
        numpy.frombuffer(tokens, dtype=numpy.int32).copy(),
        numpy.frombuffer(doc_starts, dtype=numpy.int64).copy(),
    )


def join_streams(
    streams: Iterable[TokenStream], first_types: Sequence[str] = ()
) -> TokenStream:
    """Put streams one after the other; words that none of them has any more are left out.

    streams (Iterable[TokenStream]): The streams.
    first_types (Sequence[str]): Words whose numbers come first, found or not.
    RETURNS (TokenStream): One stream, numbered as `number_words` does.
    """
    numbers = {word: i for i, word in enumerate(first_types)}
    tokens, doc_starts, n_tokens = [], [], 0
    for stream in streams:
        renumbered = numpy.zeros(len(stream.types), dtype=numpy.int32)
        found, first = numpy.unique(stream.tokens, return_index=True)
        for old in found[numpy.argsort(first)].tolist():
            renumbered[old] = numbers.setdefault(stream.types[old], len(numbers))
        tokens.append(renumbered[stream.tokens])
        doc_starts.append(stream.doc_starts + n_tokens)
        n_tokens += len(stream.tokens)
    return TokenStream(
        list(numbers), numpy.concatenate(tokens), numpy.concatenate(doc_starts)
    )
