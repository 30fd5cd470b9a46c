"""Streams with the vocabulary and the model that fit them."""

from typing import Any, NamedTuple

import pytest
from torch import nn

from spacy_elmo_ulmfit.pretraining.objectives import build_vocabulary
from spacy_elmo_ulmfit.pretraining.stream import TokenStream
from spacy_elmo_ulmfit.text import DocTokenizer, Vocabulary

from ..util import make_doc, stream_of, tiny_awd_lstm, tiny_bilm

KINDS = ("bilm", "awd_lstm", "qrnn")


class Setting(NamedTuple):
    """A language model and the text it belongs to."""

    module: nn.Module
    stream: TokenStream
    vocabulary: Vocabulary


def make_setting(kind: str, documents: Any, min_freq: int = 1, **sizes: Any) -> Setting:
    """Build a small language model for some documents."""
    stream = stream_of(kind, [make_doc(words) for words in documents])
    tokenizer = None if kind == "bilm" else DocTokenizer()
    vocabulary = build_vocabulary(
        stream.counts(), tokenizer, max_size=0, min_freq=min_freq
    )
    build = tiny_bilm if kind == "bilm" else tiny_awd_lstm
    if kind == "qrnn":
        sizes["rnn"] = "qrnn"
    return Setting(build(n_words=len(vocabulary), **sizes), stream, vocabulary)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param
