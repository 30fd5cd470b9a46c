"""Small models, documents and batches that several tests need."""

from typing import Any, Iterable, List, Optional, Sequence

import spacy
import torch
from spacy.tokens import Doc

from spacy_elmo_ulmfit.modules import (
    AWDLSTM,
    AWDLSTMConfig,
    BiLM,
    BiLMConfig,
    ClassifierConfig,
    ULMFiTClassifier,
)
from spacy_elmo_ulmfit.pretraining.corpus.stream import (
    BOUNDARY_TYPES,
    TokenStream,
    bilm_words,
    number_words,
)
from spacy_elmo_ulmfit.text import DocTokenizer, words_to_chars

MAX_CHARS = 16
# A vocabulary of a language: without one, no token is white space.
VOCAB = spacy.blank("en").vocab
NO_DROPOUT = {
    "input_dropout": 0.0,
    "hidden_dropout": 0.0,
    "output_dropout": 0.0,
    "embedding_dropout": 0.0,
    "weight_dropout": 0.0,
}


def stream_of(kind: str, docs: Iterable[Doc]) -> TokenStream:
    """Number the tokens of documents as a biLM or an AWD-LSTM reads them."""
    if kind == "bilm":
        return number_words(map(bilm_words, docs), BOUNDARY_TYPES)
    tokenizer = DocTokenizer()
    return number_words(tokenizer(doc).words for doc in docs)


def tiny_bilm(seed: int = 0, **overrides: Any) -> BiLM:
    """Build a small biLM in eval mode; `overrides` are settings of `BiLMConfig`."""
    torch.manual_seed(seed)
    settings: dict = {
        "char_dim": 4,
        "filters": ((1, 4), (2, 4), (3, 6)),
        "max_chars": MAX_CHARS,
        "cell_dim": 8,
        "projection_dim": 5,
        "n_layers": 2,
        "n_words": 11,
        "dropout": 0.5,
    }
    return BiLM(BiLMConfig(**{**settings, **overrides})).eval()


def tiny_awd_lstm(seed: int = 0, **overrides: Any) -> AWDLSTM:
    """Build a small AWD-LSTM in eval mode, with the published dropouts."""
    torch.manual_seed(seed)
    return AWDLSTM(awd_lstm_config(**overrides)).eval()


def awd_lstm_config(**overrides: Any) -> AWDLSTMConfig:
    """Return the settings of a small AWD-LSTM."""
    settings = {"n_words": 13, "embedding_dim": 5, "hidden_dim": 7, "n_layers": 3}
    return AWDLSTMConfig(**{**settings, **overrides})


def tiny_classifier(
    seed: int = 0, encoder: Optional[dict] = None, **overrides: Any
) -> ULMFiTClassifier:
    """Build a small classifier in eval mode, its running statistics not the initial ones."""
    torch.manual_seed(seed)
    settings = {"n_labels": 3, "hidden_dim": 6, "bptt": 4, "max_len": 100}
    model = ULMFiTClassifier(
        awd_lstm_config(decoder=False, **(encoder or {})),
        ClassifierConfig(**{**settings, **overrides}),
    )
    for norm in model.head.norms:
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    return model.eval()


def char_ids(words: Sequence[str], max_chars: int = MAX_CHARS) -> torch.Tensor:
    """Return the character ids of words."""
    return torch.from_numpy(words_to_chars(words, max_chars))


def make_doc(words: List[str], sent_starts: Optional[List[bool]] = None) -> Doc:
    """Make a document; without `sent_starts` it has no sentences."""
    return Doc(VOCAB, words=words, sent_starts=sent_starts)


def flat(documents: Sequence[Sequence[int]]) -> "tuple[torch.Tensor, List[int]]":
    """Put the ids of documents one after another, and return their lengths too."""
    ids = torch.tensor([i for document in documents for i in document])
    return ids, [len(document) for document in documents]
