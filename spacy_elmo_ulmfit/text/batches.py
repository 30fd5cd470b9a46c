"""Batches of documents as the language models' modules take them."""

from dataclasses import dataclass
from typing import Dict, Iterator, List, Sequence, Tuple

from spacy.tokens import Doc

from .characters import BEGIN_SENTENCE, END_SENTENCE
from .sequences import token_sequences


@dataclass
class SequenceBatch:
    """Sequences of several documents, words told apart by their text.

    words (List[str]): The distinct words.
    word_index (List[int]): Position in `words` of every token of every sequence,
        sentence boundaries included.
    lengths (List[int]): Number of tokens of each sequence.
    positions (List[int]): Which tokens of `word_index` are not boundaries.
    owners (List[Tuple[int, int]]): Document and token each of those belongs to.
    """

    words: List[str]
    word_index: List[int]
    lengths: List[int]
    positions: List[int]
    owners: List[Tuple[int, int]]


def sequence_batches(docs: Sequence[Doc], max_tokens: int) -> Iterator[SequenceBatch]:
    """Gather the sequences of documents into batches of bounded size.

    docs (Sequence[Doc]): The documents.
    max_tokens (int): Most tokens in a batch; a longer sequence is a batch of its
        own. 0 puts everything into one batch.
    YIELDS (SequenceBatch): Batches, the longest sequences first.
    """
    sequences = [
        (number, tokens)
        for number, doc in enumerate(docs)
        for tokens in token_sequences(doc)
    ]
    sequences.sort(key=lambda item: -len(item[1]))
    group: List[Tuple[int, List[int]]] = []
    n_tokens = 0
    for number, tokens in sequences:
        size = len(tokens) + 2
        if group and max_tokens and n_tokens + size > max_tokens:
            yield _build_batch(docs, group)
            group, n_tokens = [], 0
        group.append((number, tokens))
        n_tokens += size
    if group:
        yield _build_batch(docs, group)


def _build_batch(
    docs: Sequence[Doc], group: List[Tuple[int, List[int]]]
) -> SequenceBatch:
    known: Dict[str, int] = {BEGIN_SENTENCE: 0, END_SENTENCE: 1}
    batch = SequenceBatch([], [], [], [], [])
    for number, tokens in group:
        doc = docs[number]
        batch.word_index.append(0)
        for token in tokens:
            batch.positions.append(len(batch.word_index))
            batch.owners.append((number, token))
            batch.word_index.append(known.setdefault(doc[token].text, len(known)))
        batch.word_index.append(1)
        batch.lengths.append(len(tokens) + 2)
    batch.words = list(known)
    return batch
