"""Which tokens of a `Doc` a biLM reads as one sequence."""

from typing import List, Literal

from spacy.tokens import Doc

SequenceKind = Literal["sents", "doc"]


def token_sequences(doc: Doc, by: SequenceKind = "sents") -> List[List[int]]:
    """Split a document into the sequences a biLM reads.

    doc (Doc): The document.
    by (str): `"sents"`, the sentences where they are set, otherwise the whole
        document; or `"doc"`, always the whole document.
    RETURNS (List[List[int]]): Token indices of each sequence. White space tokens are
        left out (no published model saw any), and so are sequences without words.
    """
    sequences = [
        [i for i in span if not doc[i].is_space] for span in sequence_spans(doc, by)
    ]
    return [sequence for sequence in sequences if sequence]


def sequence_spans(doc: Doc, by: SequenceKind = "sents") -> List[range]:
    """Return where the sequences of a document are, white space included.

    doc (Doc): The document.
    by (str): See `token_sequences`.
    RETURNS (List[range]): Token indices of each sequence.
    """
    if by == "sents" and len(doc) and doc.has_annotation("SENT_START"):
        return [range(sent.start, sent.end) for sent in doc.sents]
    return [range(len(doc))]
