"""Which way an imported language model reads text: what its predictions say."""

from typing import List, Sequence, cast

import torch
import torch.nn.functional as F
from spacy.language import Language

from ..layers.awd_lstm_shim import AWDLSTMShim
from ..modules.awd_lstm import AWDLSTM, BACKWARD
from ..text import Vocabulary
from ..text.neutral import neutral_texts

# Trained models prefer their own direction by several times this, in nats per word;
# untrained ones have no preference.
_CLEARLY = 0.5
# With fewer words that the model knows, the texts say nothing about it.
_MIN_WORDS, _MIN_KNOWN = 20, 0.8


def check_direction(nlp: Language, shim: AWDLSTMShim, source: str) -> None:
    """Make sure that a language model does not read text the wrong way round.

    It predicts plain sentences of the language in both directions. That says nothing
    about models that do not know their words.

    nlp (Language): The pipeline, which has the language.
    shim (AWDLSTMShim): The language model in it, with its decoder.
    source (str): Where it comes from, for the error message.
    RAISES (ValueError): If it clearly predicts better in the other direction.
    """
    vocabulary = cast(Vocabulary, shim.vocabulary)
    sentences = []
    for text in neutral_texts(str(nlp.lang)):
        tokens = shim.read(nlp.make_doc(text))
        # What marks the edge of a document is at the same end in training.
        words = [w for w, owner in zip(tokens.words, tokens.owners) if owner >= 0]
        sentences.append(vocabulary.ids(words))
    ids = [word for sentence in sentences for word in sentence]
    n_known = sum(word != vocabulary.unknown_id for word in ids)
    if len(ids) < _MIN_WORDS or n_known < _MIN_KNOWN * len(ids):
        return
    module = cast(AWDLSTM, shim.module)
    right = _loss(module, sentences)
    wrong = _loss(module, [sentence[::-1] for sentence in sentences])
    if right - wrong < _CLEARLY:
        return
    is_backward = shim.direction == BACKWARD
    raise ValueError(
        f"{source} reads text {'from its beginning' if is_backward else 'from its end'}: "
        f"so its perplexity on plain sentences is {torch.exp(wrong):.0f}, the other way "
        f"{torch.exp(right):.0f}. {'Leave out' if is_backward else 'Give'} --backward."
    )


def _loss(module: AWDLSTM, sentences: Sequence[List[int]]) -> torch.Tensor:
    """Return the mean negative log-likelihood of all words but the first ones."""
    module.eval()
    losses = []
    with torch.no_grad():
        for sentence in sentences:
            ids = torch.tensor([sentence], device=module.embedding.weight.device)
            logits, _, _ = module(ids[:, :-1])
            losses.append(F.cross_entropy(logits[0], ids[0, 1:], reduction="none"))
    return torch.cat(losses).mean()
