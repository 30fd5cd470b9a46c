"""One task network on the biLMs of several languages, aligned with each other."""

import numpy
import pytest
import spacy
import torch
from spacy.util import load_model_from_config
from thinc.api import Config, fix_random_seed

from ..conftest import BILM, create_language_model
from .util import WIDTH, listener, load, tagged, tagger

LANGUAGES = ("en", "fr")


@pytest.fixture
def languages(tmp_path):
    """Pipelines with a biLM for each language, the French one with an alignment."""
    for number, lang in enumerate(LANGUAGES):
        nlp = create_language_model(BILM.replace('"en"', f'"{lang}"'))
        module = nlp.get_pipe("elmo_tok2vec").language_model
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.mul_(1.0 + number)
        nlp.to_disk(tmp_path / lang)
    matrix = numpy.random.default_rng(0).normal(size=(WIDTH, WIDTH))
    numpy.save(tmp_path / "fr.npy", matrix.astype("float32"))
    return tmp_path


def config(folder, lang):
    paths = {name: str(folder / name) for name in LANGUAGES}
    return Config(
        {
            "nlp": {"lang": lang, "pipeline": ["elmo_tok2vec", "tagger"]},
            "components": {
                "elmo_tok2vec": {
                    "factory": "elmo_tok2vec",
                    "model": Config().from_str(BILM)["components"]["elmo_tok2vec"][
                        "model"
                    ],
                },
                "tagger": tagger(),
            },
            "initialize": {"components": {"elmo_tok2vec": {"path": paths}}},
        }
    )


@pytest.mark.parametrize("lang", LANGUAGES)
def test_the_pipelines_language_chooses_the_bilm(languages, lang):
    nlp = load_model_from_config(config(languages, lang), auto_fill=True)
    nlp.initialize(lambda: tagged(nlp))
    expected = spacy.load(languages / lang).get_pipe("elmo_tok2vec").language_model
    found = nlp.get_pipe("elmo_tok2vec").language_model
    assert torch.equal(found.warm_cell, expected.warm_cell)
    for a, b in zip(found.parameters(), expected.parameters()):
        assert torch.equal(a, b)


def test_a_task_learnt_in_one_language_reads_the_other_through_its_alignment(languages):
    english = load(
        {
            "elmo_tok2vec": {
                "factory": "elmo_tok2vec",
                "model": config(languages, "en")["components"]["elmo_tok2vec"]["model"],
            },
            "tagger": tagger(listener()),
        }
    )
    english.config["initialize"]["components"]["elmo_tok2vec"] = {
        "path": str(languages / "en")
    }
    fix_random_seed(0)
    optimizer = english.initialize(lambda: tagged(english))
    for _ in range(3):
        english.update(tagged(english), sgd=optimizer)
    source = spacy.load(languages / "fr")
    source.get_pipe("elmo_tok2vec").initialize(
        list, nlp=source, alignment={"fr": languages / "fr.npy"}
    )
    source.to_disk(languages / "aligned")
    french = spacy.blank("fr")
    french.add_pipe("elmo_tok2vec", source=spacy.load(languages / "aligned"))
    french.add_pipe("tagger", source=english)
    doc = french("la mer est belle")
    assert all(token.tag_ for token in doc)
    matrix = numpy.load(languages / "fr.npy")
    node = french.get_pipe("elmo_tok2vec").listeners[0]
    shares = torch.softmax(node.layers[0].shims[0].module.weights, 0).tolist()
    gamma = float(node.layers[0].shims[0].module.gamma.detach())
    expected = doc._.elmo.mix(shares, gamma) @ matrix.T
    numpy.testing.assert_allclose(node.predict([doc])[0], expected, atol=1e-5)
    numpy.testing.assert_allclose(
        doc.tensor, doc._.elmo.layers.mean(axis=0) @ matrix.T, atol=1e-5
    )
