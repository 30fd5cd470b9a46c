import numpy
import pytest
from spacy.tokens import Doc, DocBin

from spacy_elmo_ulmfit.layers.doc_layers import (
    LMLayers,
    get_doc_boundaries,
    get_doc_layers,
    register_extension,
    set_doc_layers,
)

from ..util import VOCAB, make_doc


@pytest.fixture
def attribute():
    register_extension("test_layers")
    yield "test_layers"
    Doc.remove_extension("test_layers")


def array(seed, n_tokens=3):
    generator = numpy.random.default_rng(seed)
    return generator.normal(size=(2, n_tokens, 4)).astype("f")


def test_a_document_without_layers_shows_none(attribute):
    assert make_doc(["a"])._.get(attribute) is None
    assert get_doc_layers(make_doc(["a"]), "elmo") is None


def test_attribute_shows_what_was_set(attribute):
    doc, layers = make_doc(["a", "b", "c"]), array(0)
    set_doc_layers(doc, attribute, "elmo", layers)
    shown = doc._.get(attribute)
    assert (shown.n_layers, shown.width) == (2, 4)
    numpy.testing.assert_array_equal(shown.layer(1), layers[1])


def test_two_components_keep_their_layers_apart(attribute):
    doc = make_doc(["a", "b", "c"])
    for seed, name in enumerate(["one", "two"]):
        set_doc_layers(doc, attribute, name, array(seed))
    numpy.testing.assert_array_equal(get_doc_layers(doc, "one"), array(0))
    numpy.testing.assert_array_equal(get_doc_layers(doc, "two"), array(1))
    numpy.testing.assert_array_equal(doc._.get(attribute).layers, array(1))


def test_other_user_data_does_no_harm(attribute):
    doc = make_doc(["a", "b", "c"])
    doc.user_data["note"] = 1
    doc.user_data[("other", "elmo", "x")] = 2
    assert get_doc_layers(doc, "x") is None
    assert doc._.get(attribute) is None


@pytest.mark.parametrize("way", ["bytes", "docbin"])
def test_layers_travel_with_the_document(attribute, way):
    doc = make_doc(["a", "b", "c"])
    set_doc_layers(doc, attribute, "elmo", array(3))
    if way == "bytes":
        again = Doc(VOCAB).from_bytes(doc.to_bytes())
    else:
        data = DocBin(docs=[doc], store_user_data=True).to_bytes()
        (again,) = DocBin().from_bytes(data).get_docs(VOCAB)
    numpy.testing.assert_array_equal(get_doc_layers(again, "elmo"), array(3))
    numpy.testing.assert_array_equal(again._.get(attribute).layers, array(3))


def test_mix_is_the_weighted_sum():
    layers = array(1)
    found = LMLayers(layers).mix([0.25, 2.0], gamma=3.0)
    expected = 3.0 * (0.25 * layers[0] + 2.0 * layers[1])
    numpy.testing.assert_allclose(found, expected, rtol=1e-5)
    assert found.dtype == numpy.float32


def test_mix_needs_a_weight_per_layer():
    with pytest.raises(ValueError, match="got 3 for 2 layers"):
        LMLayers(array(1)).mix([1.0, 1.0, 1.0])


def test_boundaries_have_a_place_of_their_own(attribute):
    doc = make_doc(["a", "b", "c"])
    set_doc_layers(doc, attribute, "elmo", array(0), array(1, n_tokens=2))
    again = Doc(VOCAB).from_bytes(doc.to_bytes())
    numpy.testing.assert_array_equal(get_doc_layers(again, "elmo"), array(0))
    numpy.testing.assert_array_equal(get_doc_boundaries(again, "elmo"), array(1, 2))
    numpy.testing.assert_array_equal(again._.get(attribute).boundaries, array(1, 2))


def test_boundaries_go_with_the_layers_they_belong_to(attribute):
    doc = make_doc(["a", "b", "c"])
    set_doc_layers(doc, attribute, "elmo", array(0), array(1, n_tokens=2))
    set_doc_layers(doc, attribute, "elmo", array(2))
    assert get_doc_boundaries(doc, "elmo") is None
    assert doc._.get(attribute).boundaries is None
    set_doc_layers(doc, attribute, "elmo", array(0), array(1, n_tokens=2))
    doc._.set(attribute, None)
    assert not doc.user_data
