"""Neutral sentences, the state after which is what a biLM starts from."""

import importlib
from typing import List, Optional, Sequence

import torch
from spacy.language import Language

from ..modules.bilm import BiLM
from .indexers import Indexer

# Plain statements: questions and headlines leave the states of another kind.
_ENGLISH = (
    "The meeting was held on Tuesday in the city.",
    "They said that it would take more time, but nobody knew how much.",
    "The company did not say why it had sold the house.",
    "He went to the office and talked with the people there.",
    "London is a big city in the United Kingdom.",
)
_FULL_STOPS = (".", "\u3002", "\u0964", "\u06d4", "\u0589")


def neutral_texts(lang: str) -> List[str]:
    """Return a few plain sentences of a language.

    lang (str): The language's code in spaCy.
    RETURNS (List[str]): Own sentences for English, else those that spaCy has as
        examples of the language, and the English ones where it has none.
    """
    if lang == "en":
        return list(_ENGLISH)
    try:
        examples = importlib.import_module(f"spacy.lang.{lang}.examples").sentences
    except (ImportError, AttributeError):
        return list(_ENGLISH)
    plain = [text for text in examples if text.rstrip().endswith(_FULL_STOPS)]
    return plain or list(examples)


def neutral_sentences(
    nlp: Language, texts: Optional[List[str]] = None
) -> List[List[str]]:
    """Return the words of a few plain sentences of a pipeline's language.

    nlp (Language): The pipeline.
    texts (Optional[List[str]]): The sentences; by default those of `neutral_texts`.
    RETURNS (List[List[str]]): Their words, white space left out.
    """
    docs = map(nlp.make_doc, texts or neutral_texts(str(nlp.lang)))
    return [[token.text for token in doc if not token.is_space] for doc in docs]


def store_warm_state(
    module: BiLM, indexer: Indexer, sentences: Sequence[Sequence[str]]
) -> None:
    """Compute and store the state that sequences start from.

    module (BiLM): The biLM.
    indexer (Indexer): How it reads words.
    sentences (Sequence[Sequence[str]]): Words of neutral sentences.
    """
    encoded = [
        torch.from_numpy(indexer.encode([indexer.begin, *words, indexer.end]))
        for words in sentences
    ]
    module.store_warm_state([ids.to(module.warm_hidden.device) for ids in encoded])
