import logging
from pathlib import Path
from typing import NamedTuple

import numpy
import pytest
import spacy
import torch
from safetensors.torch import load_file
from spacy.cli.train import train
from spacy.language import Language

from spacy_elmo_ulmfit.modules import products
from spacy_elmo_ulmfit.modules.products import can_pack, can_quantize

TEXT = "Anna lives in Rome . She works for Siemens ."
CONFIGS = Path(__file__).parent.parent.parent / "configs"
SIZES = {"embedding_dim": 8, "hidden_dim": 10, "n_layers": 2, "bptt": 5}
ENCODERS = ["elmo", "awd_lstm"]
MULTIPLIES = {
    "bf16": ("multiplies_bfloat16", lambda device: True),
    "int8": ("multiplies_int8", lambda: True),
}


@pytest.fixture(params=["bf16", "int8"])
def precision(request, monkeypatch):
    works = can_pack(torch.bfloat16) if request.param == "bf16" else can_quantize()
    if not works:
        pytest.skip("This torch has no such products")
    # As on a processor that has the instructions: others take longer.
    monkeypatch.setattr(products, *MULTIPLIES[request.param])
    return request.param


class Encoder(NamedTuple):
    """A pipeline on disk with a language model."""

    name: str
    path: Path

    @property
    def component(self) -> str:
        return f"{self.name}_tok2vec"

    def load(self, precision) -> Language:
        setting = f"components.{self.component}.model.precision"
        return spacy.load(self.path, config={setting: precision})

    def layers(self, doc) -> numpy.ndarray:
        return doc._.get(self.name).layers


@pytest.fixture(params=ENCODERS)
def encoder(request) -> Encoder:
    path = request.getfixturevalue(f"{request.param}_path")
    return Encoder(request.param, path)


def test_vectors_are_near_and_the_files_the_same(encoder, precision, tmp_path):
    exact, fast = (encoder.load(name) for name in ("fp32", precision))
    expected, found = (encoder.layers(nlp(TEXT)) for nlp in (exact, fast))
    # The token layer is computed as ever.
    numpy.testing.assert_array_equal(found[0], expected[0])
    assert not numpy.array_equal(found[1:], expected[1:])
    similar = (found * expected).sum(axis=2)
    norms = numpy.linalg.norm(found, axis=2) * numpy.linalg.norm(expected, axis=2)
    assert (similar / norms).min() > 0.99
    fast.to_disk(tmp_path)
    stored, first = (
        load_file(path / encoder.component / "model.safetensors")
        for path in (tmp_path, encoder.path)
    )
    assert stored.keys() == first.keys()
    assert all(torch.equal(stored[name], first[name]) for name in first)
    model = spacy.load(tmp_path).config["components"][encoder.component]["model"]
    assert model["precision"] == precision


def test_a_text_has_the_same_vectors_in_any_batch(encoder, precision):
    nlp = encoder.load(precision)
    texts = [TEXT, "Hi", "An extremely long and loud sentence !!! " * 5]
    alone = [encoder.layers(nlp(text)) for text in texts]
    for doc, layers in zip(nlp.pipe(texts), alone):
        numpy.testing.assert_allclose(encoder.layers(doc), layers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_machine_without_it_says_so_and_computes_exactly(
    encoder, precision, monkeypatch, caplog
):
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(products, "multiplies_int8", lambda: False)
    monkeypatch.setattr(spacy.util.logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="spacy"):
        nlp = encoder.load(precision)
    assert f"'{precision}'" in caplog.text and "fp32" in caplog.text
    expected = encoder.layers(encoder.load("fp32")(TEXT))
    numpy.testing.assert_array_equal(encoder.layers(nlp(TEXT)), expected)


def test_a_precision_that_does_not_exist_is_refused(encoder):
    with pytest.raises(ValueError, match="precision"):
        encoder.load("fp8")


def test_a_classifier_is_trained_exactly_and_scores_are_near(
    textcat_corpus, awd_lstm_path, precision, tmp_path
):
    textcat = "components.textcat.model"
    overrides = {
        "paths.train": str(textcat_corpus),
        "paths.dev": str(textcat_corpus),
        "paths.encoder": str(awd_lstm_path),
        **{f"{textcat}.{name}": n for name, n in SIZES.items()},
        "training.max_steps": 4,
        "training.eval_frequency": 4,
    }
    paths = {}
    for name in ("fp32", precision):
        paths[name] = tmp_path / name
        settings = {**overrides, f"{textcat}.precision": name}
        train(CONFIGS / "textcat_ulmfit.cfg", paths[name], overrides=settings)
    exact, fast = (
        spacy.load(path / "model-last")(TEXT).cats for path in paths.values()
    )
    assert fast == pytest.approx(exact, abs=0.02)
    first, second = (
        (path / "model-last" / "textcat" / "model.safetensors").read_bytes()
        for path in paths.values()
    )
    assert first == second
