"""A document has the same scores alone and in any company."""

from typing import Dict

import numpy
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Config, fix_random_seed

FACTORIES = ("ulmfit_textcat", "ulmfit_textcat_multilabel")
WORDS = ["tea", "Soup", "TRAIN", "bus", "no", "zither", " ", "\n\n"]
# Windows of four words, of which the last nine of a document are pooled.
DOCUMENTS = st.lists(st.sampled_from(WORDS), max_size=40)
BATCHES = st.lists(DOCUMENTS, min_size=1, max_size=9)


def create(factory: str, rnn: str) -> Language:
    fix_random_seed(0)
    model = {
        "@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1",
        "embedding_dim": 8,
        "hidden_dim": 10,
        "n_layers": 2,
        "rnn": rnn,
        "bptt": 4,
        "max_len": 9,
        "batch_size": 3,
    }
    config = {
        "nlp": {"lang": "en", "pipeline": ["textcat"]},
        "components": {"textcat": {"factory": factory, "model": model}},
    }
    nlp = load_model_from_config(Config(config), auto_fill=True)
    cats = [{"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}]
    examples = [
        Example.from_dict(nlp.make_doc("tea soup train bus no"), {"cats": c})
        for c in cats
    ]
    nlp.initialize(lambda: examples)
    # Weights large enough for scores that differ.
    for parameter in nlp.get_pipe("textcat").shim.module.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.7)
    return nlp


@pytest.fixture(scope="module")
def pipelines() -> Dict[str, Language]:
    rnns = {"ulmfit_textcat": "lstm", "ulmfit_textcat_multilabel": "qrnn"}
    return {factory: create(factory, rnn) for factory, rnn in rnns.items()}


def scores_of(nlp, batch, **arguments):
    docs = nlp.pipe([Doc(nlp.vocab, words=words) for words in batch], **arguments)
    return [list(doc.cats.values()) for doc in docs]


@pytest.mark.parametrize("factory", FACTORIES)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(batch=BATCHES, data=st.data())
def test_scores_do_not_depend_on_batch_or_order(pipelines, factory, batch, data):
    nlp = pipelines[factory]
    alone = [scores_of(nlp, [words])[0] for words in batch]
    order = data.draw(st.permutations(range(len(batch))))
    batch_size = data.draw(st.integers(1, len(batch)))
    found = scores_of(nlp, [batch[i] for i in order], batch_size=batch_size)
    expected = [alone[i] for i in order]
    numpy.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("factory", FACTORIES)
def test_scores_do_not_depend_on_the_number_of_processes(pipelines, factory):
    nlp = pipelines[factory]
    batch = [(["tea", "bus", "no"] * 10)[:n] for n in (30, 1, 0, 9, 4)]
    batch += [[" "], ["Soup", "\n\n", "bus", "TRAIN"]]
    alone = [scores_of(nlp, [words])[0] for words in batch]
    assert numpy.ptp([scores[0] for scores in alone]) > 0.01
    found = scores_of(nlp, batch, batch_size=3, n_process=2)
    numpy.testing.assert_allclose(found, alone, rtol=0, atol=1e-5)
