"""Batches of documents as the language models' modules take them."""

from dataclasses import dataclass
from typing import Dict, Iterator, List, NamedTuple, Sequence, Tuple

from spacy.tokens import Doc

from .characters import BEGIN_SENTENCE, END_SENTENCE
from .sequences import SequenceKind, token_sequences


class _Sequence(NamedTuple):
    doc: int
    number: int
    tokens: List[int]


@dataclass
class SequenceBatch:
    """Sequences of several documents, words told apart by their text.

    words (List[str]): The distinct words.
    word_index (List[int]): Position in `words` of every token of every sequence,
        sentence boundaries included.
    lengths (List[int]): Number of tokens of each sequence.
    positions (List[int]): Which tokens of `word_index` get a row in the output.
    owners (List[Tuple[int, int]]): Document and row each of those belongs to: a
        token's row is its index; boundaries, where they are kept, come after all
        tokens, two rows for each sequence.
    """

    words: List[str]
    word_index: List[int]
    lengths: List[int]
    positions: List[int]
    owners: List[Tuple[int, int]]


class SequenceBatcher:
    """Gathers the sequences of documents into batches of bounded size.

    by (str): What a sequence is; see `token_sequences`.
    begin (str): The word that begins a sequence.
    end (str): The word that ends one.
    keep_boundaries (bool): Whether these two get rows in the output.
    """

    def __init__(
        self,
        *,
        by: SequenceKind = "sents",
        begin: str = BEGIN_SENTENCE,
        end: str = END_SENTENCE,
        keep_boundaries: bool = False,
    ) -> None:
        self.by = by
        self.begin, self.end = begin, end
        self.keep_boundaries = keep_boundaries

    def n_rows(self, doc: Doc) -> int:
        """Return the number of rows a document has in the output."""
        if not self.keep_boundaries:
            return len(doc)
        return len(doc) + 2 * len(token_sequences(doc, self.by))

    def batches(self, docs: Sequence[Doc], max_tokens: int) -> Iterator[SequenceBatch]:
        """Gather the sequences of documents.

        docs (Sequence[Doc]): The documents.
        max_tokens (int): Most tokens in a batch; a longer sequence is a batch of its
            own. 0 puts everything into one batch, in the order of the documents.
        YIELDS (SequenceBatch): Batches, the longest sequences first.
        """
        sequences = [
            _Sequence(i, number, tokens)
            for i, doc in enumerate(docs)
            for number, tokens in enumerate(token_sequences(doc, self.by))
        ]
        if max_tokens:
            sequences.sort(key=lambda sequence: -len(sequence.tokens))
        group: List[_Sequence] = []
        n_tokens = 0
        for sequence in sequences:
            size = len(sequence.tokens) + 2
            if group and max_tokens and n_tokens + size > max_tokens:
                yield self._build(docs, group)
                group, n_tokens = [], 0
            group.append(sequence)
            n_tokens += size
        if group:
            yield self._build(docs, group)

    def _build(self, docs: Sequence[Doc], group: List[_Sequence]) -> SequenceBatch:
        known: Dict[str, int] = {self.begin: 0, self.end: 1}
        batch = SequenceBatch([], [], [], [], [])
        for sequence in group:
            doc = docs[sequence.doc]
            words = [doc[token].text for token in sequence.tokens]
            ids = [known.setdefault(word, len(known)) for word in words]
            rows = list(sequence.tokens)
            start = len(batch.word_index) + 1
            if self.keep_boundaries:
                first = len(doc) + 2 * sequence.number
                rows = [first, *rows, first + 1]
                start -= 1
            batch.word_index += [0, *ids, 1]
            batch.lengths.append(len(ids) + 2)
            batch.positions += range(start, start + len(rows))
            batch.owners += [(sequence.doc, row) for row in rows]
        batch.words = list(known)
        return batch
