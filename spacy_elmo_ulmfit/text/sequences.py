"""Which tokens of a `Doc` a biLM reads as one sequence."""

from typing import List

from spacy.tokens import Doc


def token_sequences(doc: Doc) -> List[List[int]]:
    """Split a document into the sequences a biLM reads.

    doc (Doc): The document.
    RETURNS (List[List[int]]): Token indices of each sequence: the sentences when
        they are set, otherwise the whole document. White space tokens are left
        out (no published model saw any), and so are sequences without words.
    """
    if len(doc) and doc.has_annotation("SENT_START"):
        spans = [range(sent.start, sent.end) for sent in doc.sents]
    else:
        spans = [range(len(doc))]
    sequences = [[i for i in span if not doc[i].is_space] for span in spans]
    return [sequence for sequence in sequences if sequence]
