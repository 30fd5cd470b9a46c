"""ELMo vectors in scikit-learn, as users write it."""

import pickle
import subprocess
import sys

import numpy
import pytest
import spacy
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn", reason="ElmoVectorizer needs scikit-learn")

from sklearn.base import clone
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.svm import LinearSVC
from sklearn.utils import estimator_checks

from spacy_elmo_ulmfit.vectors.sklearn import ElmoVectorizer

from ..conftest import CATS
from .util import write_two

TEXTS = [text for text, _ in CATS]
LABELS = [label for _, label in CATS]


@pytest.fixture
def vectorizer(elmo_path):
    def build(**settings):
        return ElmoVectorizer(str(elmo_path), **settings)

    return build


def test_vectors_are_the_means_of_the_documents(vectorizer, elmo):
    vectors = vectorizer().fit(TEXTS).transform(TEXTS)
    assert vectors.shape == (6, 12) and vectors.dtype == numpy.float32
    expected = [doc._.elmo.vector for doc in elmo.pipe(TEXTS)]
    assert_allclose(vectors, expected, atol=1e-5)
    assert_array_equal(vectorizer().fit_transform(TEXTS), vectors)


@pytest.mark.parametrize(
    "layers, pooling, first, last",
    [
        ("top", "mean", "mean_0", "mean_11"),
        ("layer:1", "max", "max_0", "max_11"),
        ("concat", "mean_max", "mean_layer0_0", "max_layer2_11"),
    ],
)
def test_layers_pooling_and_names(layers, pooling, first, last, vectorizer, elmo):
    fitted = vectorizer(layers=layers, pooling=pooling).fit(TEXTS)
    vectors, doc = fitted.transform(TEXTS[:1]), elmo(TEXTS[0])
    names = fitted.get_feature_names_out()
    assert (names[0], names[-1]) == (first, last) and len(set(names)) == len(names)
    rows = {
        "top": doc._.elmo.layer(2),
        "layer:1": doc._.elmo.layer(1),
        "concat": numpy.hstack(doc._.elmo.layers),
    }[layers]
    parts = {"mean": rows.mean(axis=0), "max": rows.max(axis=0)}
    expected = [parts[part] for part in pooling.split("_")]
    assert_allclose(vectors[0], numpy.concatenate(expected), atol=1e-5)
    assert vectors.shape == (1, len(names))


def test_a_mix_has_weights(vectorizer, elmo):
    vectors = vectorizer(layers="mix", weights=[0.0, 0.0, 2.0]).transform(TEXTS[:1])
    assert_allclose(vectors, 2 * vectorizer(layers="top").transform(TEXTS[:1]))


@pytest.mark.parametrize("pooling", ["mean", "max", "mean_max"])
def test_white_space_does_not_count_and_no_words_are_zeros(pooling, vectorizer):
    pooled = vectorizer(pooling=pooling)
    one, two, *none = pooled.transform(["tea again", "tea \n\n again", "", " \n "])
    assert_allclose(one, two, atol=1e-6)
    assert one.any() and not numpy.any(none)
    assert pooled.transform([]).shape == (0, len(one))


def test_documents_are_taken_too_and_not_read_twice(vectorizer, elmo, monkeypatch):
    expected = vectorizer().transform(TEXTS)
    docs = list(elmo.pipe(TEXTS[:3])) + [elmo.make_doc(text) for text in TEXTS[3:]]
    mixed = ElmoVectorizer(elmo)
    assert_allclose(mixed.transform(docs), expected, atol=1e-5)
    pipe = elmo.get_pipe("elmo_tok2vec")
    monkeypatch.setattr(pipe, "predict", lambda docs: pytest.fail("read again"))
    assert_allclose(mixed.transform(docs), expected, atol=1e-5)
    with pytest.raises(pytest.fail.Exception):
        mixed.transform(TEXTS)


def test_processes_give_the_same_vectors(vectorizer):
    expected = vectorizer().transform(TEXTS)
    found = vectorizer(n_process=2, batch_size=2).transform(TEXTS)
    assert_allclose(found, expected, atol=1e-5)


def test_one_of_several_language_models(elmo_path, awd_lstm_path, tmp_path):
    path = write_two(elmo_path, awd_lstm_path, tmp_path / "two")
    with pytest.raises(ValueError, match="2 language models"):
        ElmoVectorizer(path).fit(TEXTS)
    found = ElmoVectorizer(path, component="awd_lstm_tok2vec").transform(TEXTS)
    assert found.shape == (6, 8)


def test_an_svm_learns_from_them_beside_tfidf(vectorizer):
    union = make_union(TfidfVectorizer(), vectorizer(layers="concat"))
    model = make_pipeline(union, LinearSVC(random_state=0)).fit(TEXTS, LABELS)
    assert model.predict(TEXTS).tolist() == LABELS
    names = model[0].get_feature_names_out()
    assert "tfidfvectorizer__tea" in names
    assert "elmovectorizer__mean_layer0_0" in names


@pytest.mark.parametrize("given", ["path", "object"])
def test_grid_search_over_layers_and_pooling(given, vectorizer, elmo):
    elmo_features = vectorizer() if given == "path" else ElmoVectorizer(elmo)
    model = make_pipeline(elmo_features, LinearSVC(random_state=0))
    grid = {
        "elmovectorizer__layers": ["top", "layer:0"],
        "elmovectorizer__pooling": ["mean", "mean_max"],
    }
    search = GridSearchCV(model, grid, cv=2, error_score="raise").fit(TEXTS, LABELS)
    assert len(search.cv_results_["params"]) == 4
    assert search.best_estimator_.predict(TEXTS[:2]).shape == (2,)


def test_a_clone_shares_the_pipeline_object_and_loads_a_path_anew(vectorizer, elmo):
    assert clone(ElmoVectorizer(elmo)).pipeline is elmo
    fitted = vectorizer(pooling="max").fit(TEXTS)
    copied = clone(fitted)
    assert copied.get_params() == fitted.get_params()
    assert not hasattr(copied, "_loaded")


def test_another_pipeline_can_be_set_after_the_first_was_loaded(
    vectorizer, awd_lstm_path
):
    features = vectorizer().fit(TEXTS)
    features.set_params(pipeline=str(awd_lstm_path))
    assert features.transform(TEXTS).shape == (6, 8)


def test_pickle_holds_a_pipeline_only_when_it_was_given_as_an_object(vectorizer, elmo):
    by_path, by_object = vectorizer().fit(TEXTS), ElmoVectorizer(elmo).fit(TEXTS)
    expected = by_path.transform(TEXTS)
    data = pickle.dumps(by_path)
    assert len(data) < 1000 < len(pickle.dumps(by_object))
    for features in (by_path, by_object):
        again = pickle.loads(pickle.dumps(features))
        assert_allclose(again.transform(TEXTS), expected, atol=1e-5)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"layers": "all"}, "use 'concat'"),
        ({"layers": "best"}, "not a choice of layers"),
        ({"layers": "layer:3"}, "layer:0 to layer:2"),
        ({"pooling": "sum"}, "use one of mean, max, mean_max"),
        ({"component": "ner"}, "no language model component 'ner'"),
        ({"pipeline": "no/pipeline"}, "no pipeline 'no/pipeline'"),
        ({"pipeline": spacy.blank("en")}, "the pipeline holds no language model"),
    ],
)
def test_bad_settings_are_one_sentence_in_fit(settings, message, vectorizer):
    with pytest.raises(ValueError, match=message):
        vectorizer().set_params(**settings).fit(TEXTS)


@pytest.mark.parametrize(
    "texts, message",
    [
        ("tea", "give a list"),
        (["tea", None], "Text 1 is a NoneType"),
        (numpy.asarray([["tea"], ["cake"]]), "one column of text"),
    ],
)
def test_what_is_no_text_is_refused(texts, message, vectorizer):
    with pytest.raises(ValueError, match=message):
        vectorizer().fit(texts)


def test_arrays_of_strings_are_texts(vectorizer):
    expected = vectorizer().transform(TEXTS)
    for array in (numpy.asarray(TEXTS), numpy.asarray(TEXTS, dtype=object)):
        assert_allclose(vectorizer().transform(array), expected, atol=1e-6)


# Those of scikit-learn's checks that do not fit on arrays of numbers.
CHECKS = [
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_estimators_unfitted",
    "check_get_params_invariance",
    "check_mixin_order",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
]


@pytest.mark.parametrize("name", CHECKS)
def test_scikit_learns_own_checks(name, vectorizer):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip(f"this scikit-learn has no {name}")
    check("ElmoVectorizer", vectorizer())


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_scikit_learn_accepts_it_as_an_estimator_of_text(vectorizer):
    estimator_checks.check_estimator(vectorizer())


def test_without_scikit_learn_only_this_module_fails():
    script = (
        "import sys; sys.modules['sklearn'] = None\n"
        "import spacy_elmo_ulmfit.cli, spacy_elmo_ulmfit.vectors.store\n"
        "try:\n    import spacy_elmo_ulmfit.vectors.sklearn\n"
        "except ImportError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'spacy-elmo-ulmfit[sklearn]'" in result.stdout
