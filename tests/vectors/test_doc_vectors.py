"""`.vector` and `.similarity`, spaCy's and ours, on what a pipeline returns."""

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal
from spacy.vectors import Vectors

TEXT = "Anna lives in Rome .\n She works near Rome ."

# W007: spaCy warns whenever there are no static vectors.
pytestmark = pytest.mark.filterwarnings("ignore:.*W007")


@pytest.fixture(params=["elmo", "awd_lstm"])
def pipeline(request):
    return request.getfixturevalue(request.param), request.param


def test_doc_span_and_token_show_the_same_layers(pipeline):
    nlp, attribute = pipeline
    doc = nlp(TEXT)
    layers = doc._.get(attribute).layers
    assert_array_equal(doc[1:4]._.get(attribute).layers, layers[:, 1:4])
    for token in doc:
        assert_array_equal(token._.get(attribute).layers, layers[:, [token.i]])
        assert token._.get(attribute).is_word.tolist() == [not token.is_space]


def test_vectors_of_spacy_come_from_the_tensor(pipeline):
    nlp, attribute = pipeline
    doc = nlp(TEXT)
    assert doc.has_vector and doc[0].has_vector
    assert_allclose(doc[0].vector, doc[0]._.get(attribute).vector, rtol=1e-5)
    assert_allclose(doc[0:4].vector, doc[0:4]._.get(attribute).vector, rtol=1e-5)
    # With white space in between spaCy's mean is another.
    assert_allclose(doc.vector, doc.tensor.mean(axis=0), rtol=1e-5)
    words = [token.i for token in doc if not token.is_space]
    expected = doc.tensor[words].mean(axis=0)
    assert_allclose(doc._.get(attribute).vector, expected, rtol=1e-5, atol=1e-7)


def test_similarity_of_spacy_is_the_cosine_of_the_vectors(pipeline):
    nlp, attribute = pipeline
    doc, other = nlp("Anna lives in Rome"), nlp("She works near Rome .")
    for one, two in [(doc, other), (doc[0:2], other[1:3]), (doc[0], other[1])]:
        expected = one._.get(attribute).similarity(two._.get(attribute))
        assert one.similarity(two) == pytest.approx(expected, abs=1e-5)


def test_the_same_word_in_another_sentence_has_another_vector(elmo):
    """spaCy's `similarity` calls equal words 1.0 without looking at vectors."""
    one, two = elmo("Rome is wide .")[0], elmo("Anna lives in Rome .")[3]
    assert one.similarity(two) == 1.0
    assert one._.elmo.similarity(two._.elmo) < 0.999


def test_an_empty_document_has_a_vector_of_the_models_width(elmo):
    doc = elmo("")
    assert doc.vector.shape == (0,)
    assert doc._.elmo.vector.shape == (doc._.elmo.width,)


def test_static_vectors_win_in_spacy_and_ours_stay(elmo_path):
    nlp = spacy.load(elmo_path)
    expected = nlp("Anna lives")._.elmo.vector
    nlp.vocab.vectors = Vectors(data=numpy.ones((1, 3), dtype="f"), keys=["Anna"])
    doc = nlp("Anna lives")
    assert doc[0].vector.tolist() == [1.0] * 3
    assert doc.vector.shape == (3,)
    assert_allclose(doc._.elmo.vector, expected, rtol=1e-5)
