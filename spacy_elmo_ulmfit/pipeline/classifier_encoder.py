"""How the encoder of a text classifier gets its weights and its words."""

from collections import Counter
from pathlib import Path
from typing import Iterable, Optional, Union, cast

from spacy.training import Example

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..layers.shim import check_settings
from ..modules.classifier import ULMFiTClassifier
from ..text import LMTokenizer, Vocabulary
from .source import SourceModel, load_language_model

_SIZES = ("embedding_dim", "hidden_dim", "n_layers", "rnn", "direction")


def load_encoder(
    shim: AWDLSTMShim, path: Union[str, Path], setting: str
) -> SourceModel:
    """Load the language model that a classifier starts from.

    shim (AWDLSTMShim): The classifier's.
    path (Union[str, Path]): Pipeline with the AWD-LSTM.
    setting (str): The setting that gives the path, for error messages.
    RETURNS (SourceModel): The language model.
    RAISES (ValueError): If it reads in the other direction or has other sizes.
    """
    source = load_language_model(path, "awd_lstm")
    found = source.checkpoint().settings
    if found["direction"] != shim.direction:
        raise ValueError(
            f"{setting} = '{path}' holds a language model that reads {found['direction']}, "
            f"but the classifier there reads {shim.direction}. Give one that does too, or "
            f'set direction = "{found["direction"]}" in the [...model] block of the '
            "component."
        )
    expected = shim.settings["encoder"]
    sizes = {name: expected[name] for name in _SIZES}
    check_settings(sizes, found, source=str(path))
    return source


def create_from_encoder(shim: AWDLSTMShim, source: SourceModel, n_labels: int) -> None:
    """Build a classifier on a trained language model, with its words and its tokenizer.

    shim (AWDLSTMShim): The classifier's.
    source (SourceModel): The language model.
    n_labels (int): Number of labels.
    """
    shim.set_tokenizer(cast(AWDLSTMShim, source.shim).tokenizer)
    module = create(shim, cast(Vocabulary, source.vocabulary), n_labels)
    wanted = module.encoder.state_dict()
    state = source.checkpoint().state
    # What predicts words is left out.
    module.encoder.load_state_dict({name: state[name] for name in wanted})


def create_from_examples(
    shim: AWDLSTMShim,
    examples: Iterable[Example],
    n_labels: int,
    *,
    lang: Optional[str],
    max_vocab: int,
    min_freq: int,
) -> None:
    """Build a classifier with random weights that knows the words of examples.

    shim (AWDLSTMShim): The classifier's.
    examples (Iterable[Example]): The examples.
    n_labels (int): Number of labels.
    lang (Optional[str]): Code of the language the tokenizer is set up for.
    max_vocab (int): Most words, 0 for no limit.
    min_freq (int): Rarer words are unknown.
    """
    tokenizer = shim.create_tokenizer(lang)
    create(shim, count_words(examples, tokenizer, max_vocab, min_freq), n_labels)


def create(
    shim: AWDLSTMShim, vocabulary: Vocabulary, n_labels: int
) -> ULMFiTClassifier:
    """Build a classifier with random weights.

    shim (AWDLSTMShim): The classifier's.
    vocabulary (Vocabulary): The words it knows.
    n_labels (int): Number of labels.
    RETURNS (ULMFiTClassifier): The classifier.
    """
    encoder = {**shim.settings["encoder"], "n_words": len(vocabulary)}
    module = shim.create(vocabulary, n_labels=n_labels, encoder=encoder)
    return cast(ULMFiTClassifier, module)


def count_words(
    examples: Iterable[Example], tokenizer: LMTokenizer, max_vocab: int, min_freq: int
) -> Vocabulary:
    """Build the vocabulary of a new encoder from training examples."""
    counts: Counter = Counter()
    for example in examples:
        counts.update(tokenizer.words(example.reference))
    return Vocabulary.build(
        counts,
        specials=tokenizer.specials,
        unknown=tokenizer.unknown,
        max_size=max_vocab,
        min_freq=min_freq,
    )
