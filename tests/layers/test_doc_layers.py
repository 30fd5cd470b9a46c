import numpy
import pytest
from spacy.tokens import Doc, DocBin, Span, Token

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
    for owner in (Doc, Span, Token):
        owner.remove_extension("test_layers")


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


def words_and_space(attribute):
    """`a b <newline> c`, as the components write it: the white space row is zeros."""
    doc, layers = make_doc(["a", "b", "\n", "c"]), array(5, n_tokens=4)
    layers[:, 2] = 0.0
    set_doc_layers(doc, attribute, "elmo", layers)
    return doc, layers


def test_spans_and_tokens_show_their_rows(attribute):
    doc, layers = words_and_space(attribute)
    span, token = doc[1:4]._.get(attribute), doc[3]._.get(attribute)
    numpy.testing.assert_array_equal(span.layers, layers[:, 1:4])
    numpy.testing.assert_array_equal(token.layers, layers[:, 3:4])
    numpy.testing.assert_array_equal(span.mix([1.0, 0.0]), layers[0, 1:4])
    assert doc[2:2]._.get(attribute).layers.shape == (2, 0, 4)


def test_spans_and_tokens_without_layers_show_none(attribute):
    doc = make_doc(["a", "b"])
    assert doc[0:1]._.get(attribute) is None and doc[0]._.get(attribute) is None


def test_vector_is_the_mean_over_layers_and_words(attribute):
    doc, layers = words_and_space(attribute)
    shown = doc._.get(attribute)
    assert shown.is_word.tolist() == [True, True, False, True]
    expected = layers[:, [0, 1, 3]].mean(axis=(0, 1))
    numpy.testing.assert_allclose(shown.vector, expected, rtol=1e-5)
    assert shown.vector.dtype == numpy.float32
    numpy.testing.assert_allclose(
        doc[1:3]._.get(attribute).vector, layers[:, 1].mean(axis=0), rtol=1e-5
    )
    numpy.testing.assert_allclose(
        doc[3]._.get(attribute).vector, layers[:, 3].mean(axis=0), rtol=1e-5
    )


@pytest.mark.parametrize("part", [slice(2, 3), slice(2, 2)])
def test_vector_of_no_words_is_zeros(attribute, part):
    doc, _ = words_and_space(attribute)
    assert doc[part]._.get(attribute).vector.tolist() == [0.0] * 4


def test_similarity_is_the_cosine_and_zero_for_white_space(attribute):
    doc, layers = words_and_space(attribute)
    one, two, space = (doc[i]._.get(attribute) for i in (0, 1, 2))
    a, b = layers[:, 0].mean(axis=0), layers[:, 1].mean(axis=0)
    expected = a @ b / numpy.linalg.norm(a) / numpy.linalg.norm(b)
    assert one.similarity(two) == pytest.approx(expected, rel=1e-5)
    assert one.similarity(one) == pytest.approx(1.0)
    assert one.similarity(space) == 0.0


def test_layers_stored_in_half_precision_are_shown_as_float32(attribute):
    doc = make_doc(["a", "b", "c"])
    set_doc_layers(doc, attribute, "elmo", array(0).astype("float16"))
    assert doc._.get(attribute).layers.dtype == numpy.float32
    assert doc[0]._.get(attribute).layers.dtype == numpy.float32


@pytest.mark.parametrize("change", ["retokenized", "copied"])
def test_layers_of_other_tokens_are_an_error_not_wrong_rows(attribute, change):
    doc = make_doc(["a", "b", "c"])
    set_doc_layers(doc, attribute, "elmo", array(0))
    if change == "retokenized":
        with doc.retokenize() as retokenizer:
            retokenizer.merge(doc[0:2])
    else:
        doc = doc[1:3].as_doc(copy_user_data=True)
    with pytest.raises(ValueError, match="it has 3 tokens, this one 2.*run 'elmo'"):
        doc[0]._.get(attribute)
    doc._.set(attribute, None)
    assert doc._.get(attribute) is None
