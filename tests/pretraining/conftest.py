"""Streams with the vocabulary and the model that fit them."""

from typing import Any, NamedTuple

import pytest
from torch import nn

from spacy_elmo_ulmfit.pretraining.objectives import build_vocabulary
from spacy_elmo_ulmfit.pretraining.stream import TokenStream, build_stream
from spacy_elmo_ulmfit.text import Vocabulary

from ..util import make_doc, tiny_awd_lstm, tiny_bilm

KINDS = ("bilm", "awd_lstm")


class Setting(NamedTuple):
    """A language model and the text it belongs to."""

    module: nn.Module
    stream: TokenStream
    vocabulary: Vocabulary


def make_setting(kind: str, documents: Any, min_freq: int = 1, **sizes: Any) -> Setting:
    """Build a small language model for some documents."""
    stream = build_stream([make_doc(words) for words in documents], kind, source="[x]")
    vocabulary = build_vocabulary(kind, stream.counts(), max_size=0, min_freq=min_freq)
    build = tiny_bilm if kind == "bilm" else tiny_awd_lstm
    return Setting(build(n_words=len(vocabulary), **sizes), stream, vocabulary)


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param
