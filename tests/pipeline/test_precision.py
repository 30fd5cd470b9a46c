import logging

import numpy
import pytest
import spacy
import torch
from safetensors.torch import load_file
from spacy.language import Language

from spacy_elmo_ulmfit.modules import products
from spacy_elmo_ulmfit.modules.products import can_pack, can_quantize

TEXT = "Anna lives in Rome . She works for Siemens ."
SETTING = "components.elmo_tok2vec.model.precision"
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


def load(path, precision) -> Language:
    return spacy.load(path, config={SETTING: precision})


def test_vectors_are_near_and_the_files_the_same(elmo_path, precision, tmp_path):
    exact, fast = (load(elmo_path, name) for name in ("fp32", precision))
    expected, found = (nlp(TEXT)._.elmo.layers for nlp in (exact, fast))
    # The token layer is computed as ever.
    numpy.testing.assert_array_equal(found[0], expected[0])
    assert not numpy.array_equal(found[1:], expected[1:])
    similar = (found * expected).sum(axis=2)
    norms = numpy.linalg.norm(found, axis=2) * numpy.linalg.norm(expected, axis=2)
    assert (similar / norms).min() > 0.99
    fast.to_disk(tmp_path)
    stored, first = (
        load_file(path / "elmo_tok2vec" / "model.safetensors")
        for path in (tmp_path, elmo_path)
    )
    assert stored.keys() == first.keys()
    assert all(torch.equal(stored[name], first[name]) for name in first)
    model = spacy.load(tmp_path).config["components"]["elmo_tok2vec"]["model"]
    assert model["precision"] == precision


def test_a_text_has_the_same_vectors_in_any_batch(elmo_path, precision):
    nlp = load(elmo_path, precision)
    texts = [TEXT, "Hi", "An extremely long and loud sentence !!! " * 5]
    alone = [nlp(text)._.elmo.layers for text in texts]
    for doc, layers in zip(nlp.pipe(texts), alone):
        numpy.testing.assert_allclose(doc._.elmo.layers, layers, rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_a_machine_without_it_says_so_and_computes_exactly(
    elmo_path, precision, monkeypatch, caplog
):
    monkeypatch.setattr(products, "multiplies_bfloat16", lambda device: False)
    monkeypatch.setattr(products, "multiplies_int8", lambda: False)
    monkeypatch.setattr(spacy.util.logger, "propagate", True)
    with caplog.at_level(logging.INFO, logger="spacy"):
        nlp = load(elmo_path, precision)
    assert f"'{precision}'" in caplog.text and "fp32" in caplog.text
    expected = load(elmo_path, "fp32")(TEXT)._.elmo.layers
    numpy.testing.assert_array_equal(nlp(TEXT)._.elmo.layers, expected)


def test_a_precision_that_does_not_exist_is_refused(elmo_path):
    with pytest.raises(ValueError, match="precision"):
        load(elmo_path, "fp8")
