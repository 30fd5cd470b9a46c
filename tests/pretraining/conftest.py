"""Streams with the vocabulary and the model that fit them, and windows of them."""

from typing import Any, Iterator, NamedTuple

import pytest
from torch import nn

from spacy_elmo_ulmfit.pretraining.batching.layout import (
    ModelText,
    Rows,
    Window,
    create_layout,
)
from spacy_elmo_ulmfit.pretraining.corpus.stream import TokenStream
from spacy_elmo_ulmfit.pretraining.losses.objectives import (
    Objective,
    StepResult,
    build_vocabulary,
)
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


def text_of(setting: Setting) -> ModelText:
    """Return the text as the model reads it."""
    return create_layout(setting.module, setting.vocabulary)(setting.stream)


def rows_of(setting: Setting, batch_size: int, pad: bool = False) -> Rows:
    """Return the text in rows."""
    return text_of(setting).rows(setting.stream.tokens, batch_size, pad=pad)


def windows_of(setting: Setting, rows: Rows, n_steps: int) -> Iterator[Window]:
    """Yield rows in windows of so many tokens."""
    text = text_of(setting)
    for start in range(0, rows.inputs.shape[2], n_steps):
        window = slice(start, start + n_steps)
        yield text.window(rows.inputs[:, :, window], rows.targets[:, :, window])


def step_of(setting: Setting, rows: Rows, objective: Objective) -> StepResult:
    """Read rows as one window, from zeros."""
    window = text_of(setting).window(*rows)
    return objective.step(window, objective.zero_state(window.batch_size))


@pytest.fixture(params=KINDS)
def kind(request):
    return request.param
