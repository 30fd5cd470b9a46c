"""Tiny classifiers that have learnt to tell food from travel."""

from typing import Any, Dict

import torch
from spacy.language import Language
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Adam, Config, fix_random_seed

from ..conftest import CATS

MODEL = {
    "@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1",
    "embedding_dim": 8,
    "hidden_dim": 10,
    "n_layers": 2,
    "bptt": 5,
    "drop_mult": 0.0,
    "head_dropout": 0.0,
}


def train_classifier(
    factory: str = "ulmfit_textcat", seed: int = 0, lang: str = "en", **model: Any
) -> Language:
    """Train a pipeline of one classifier, `model` being settings of its architecture."""
    fix_random_seed(seed)
    component = {"factory": factory, "model": {**MODEL, **model}}
    return _train(component, lang)


def train_ensemble() -> Language:
    """Train a pipeline of a forward and a backward classifier that are averaged."""
    fix_random_seed(0)
    model = {
        "@architectures": "spacy-elmo-ulmfit.ULMFiTEnsemble.v1",
        "forward": MODEL,
        "backward": {**MODEL, "direction": "backward"},
    }
    return _train({"factory": "ulmfit_textcat", "model": model}, "en")


def _train(component: Dict[str, Any], lang: str) -> Language:
    config = {
        "nlp": {"lang": lang, "pipeline": ["textcat"]},
        "components": {"textcat": component},
    }
    nlp = load_model_from_config(Config(config), auto_fill=True)
    examples = []
    for text, label in CATS:
        cats = {name: float(name == label) for name in ("food", "travel")}
        examples.append(Example.from_dict(nlp.make_doc(text), {"cats": cats}))
    optimizer = nlp.initialize(lambda: examples, sgd=Adam(0.01))
    for _ in range(10):
        nlp.update(examples, sgd=optimizer)
    _soften(nlp)
    return nlp


def _soften(nlp: Language) -> None:
    """Scale the last layer: a classifier that is sure of all has little to explain."""
    for shim in nlp.get_pipe("textcat").shims.values():
        module = shim.module.eval()
        texts = [shim.words_of(nlp.make_doc(text)) for text, _ in CATS]
        with torch.no_grad():
            factor = 2.0 / module(*shim.word_ids(texts)).abs().max()
            for parameter in module.head.linears[-1].parameters():
                parameter.mul_(factor)
