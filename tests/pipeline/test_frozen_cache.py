"""Training on a frozen language model whose outputs are kept, in memory or on disk."""

import multiprocessing
import pickle
from concurrent.futures import ProcessPoolExecutor

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import Adam, fix_random_seed

from .util import AWD_LSTM, ELMO, listener, load, spy_on, tagged, tagger, train

TEXT = "Anna lives in Rome .\n She works for Siemens ."
STEPS = 3


@pytest.fixture(params=[ELMO, AWD_LSTM], ids=str)
def kind(request):
    return request.param


@pytest.fixture
def path(kind, elmo_path, awd_lstm_path):
    return {ELMO: elmo_path, AWD_LSTM: awd_lstm_path}[kind]


@pytest.fixture
def cache_dir(tmp_path):
    return tmp_path / "caches" / "layers"


def build(kind, path, **settings):
    """Build a pipeline as a config with the component's block does."""
    block = {**spacy.load(path).get_pipe_config(kind.component), **settings}
    mix = {**listener()["mix"], "n_layers": kind.n_layers}
    tok2vec = listener(kind.component, mix=mix, width=kind.width)
    nlp = load({kind.component: block, "tagger": tagger(tok2vec)})
    nlp.config["initialize"]["components"][kind.component] = {"path": str(path)}
    return nlp, nlp.get_pipe(kind.component)


def run(nlp):
    """Train from the beginning, with a seed; return the losses."""
    fix_random_seed(0)
    nlp.initialize(lambda: tagged(nlp))
    return [losses["tagger"] for losses in train(nlp, STEPS, Adam(0.01))]


def vectors(nlp, pipe):
    docs = [example.predicted for example in tagged(nlp)]
    return pipe.predict_cached([nlp.make_doc(text) for text in ("", TEXT)] + docs)


def run_without_language_model(kind, path, cache_dir):
    """Train where everything is in the cache; return losses and vectors."""
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))

    def predict(docs):
        raise AssertionError("The language model was called.")

    pipe.predict = predict
    return run(nlp), vectors(nlp, pipe)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def assert_equal_runs(found, expected):
    assert found[0] == expected[0]
    assert len(found[1]) == len(expected[1])
    for one, other in zip(found[1], expected[1]):
        assert_array_equal(one, other)


def assert_close_runs(found, expected):
    """Where documents are computed again, in another batch, they are rounded anew."""
    assert found[0] == pytest.approx(expected[0], rel=1e-2)
    for one, other in zip(found[1], expected[1]):
        assert_allclose(one, other, rtol=1e-3, atol=1e-5)


@pytest.fixture
def cold(kind, path, cache_dir):
    """Losses and vectors of the run that fills the cache."""
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    calls = spy_on(pipe)
    losses = run(nlp)
    assert sum(calls) == 3
    return losses, vectors(nlp, pipe)


def test_a_second_run_never_calls_the_language_model(kind, path, cache_dir, cold):
    assert_equal_runs(run_without_language_model(kind, path, cache_dir), cold)


def test_nor_does_a_second_process(kind, path, cache_dir, cold):
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        other = pool.submit(run_without_language_model, kind, path, cache_dir)
        assert_equal_runs(other.result(), cold)


def test_memory_and_disk_give_the_same_numbers(kind, path, cold):
    nlp, pipe = build(kind, path)
    assert_equal_runs((run(nlp), vectors(nlp, pipe)), cold)
    nlp, pipe = build(kind, path, cache_mb=0)
    assert_allclose(run(nlp), cold[0], rtol=1e-2)
    for one, other in zip(vectors(nlp, pipe), cold[1]):
        assert_allclose(one, other, atol=2e-3)


def in_place(pipe):
    with torch.no_grad():
        for parameter in pipe.language_model.parameters():
            parameter.mul_(1.1)


def by_data(pipe):
    for parameter in pipe.language_model.parameters():
        parameter.data = parameter.data * 1.1


def from_bytes(pipe):
    other = pickle.loads(pickle.dumps(pipe))
    in_place(other)
    pipe.from_bytes(other.to_bytes())


def by_fine_tuning(pipe):
    pipe.frozen = False
    nlp = spacy.blank("en")
    docs = [example.predicted for example in tagged(nlp)]
    for _ in range(2):
        layers, backprop = pipe.model.begin_update(docs)
        backprop([layer * 0.0 + 1.0 for layer in layers])
        pipe.finish_update(Adam(0.1))
    pipe.frozen = True


def by_setting(pipe):
    name = "bptt" if "bptt" in pipe.model.attrs else "initial_state"
    pipe.model.attrs[name] = {"bptt": 1, "initial_state": "zeros"}[name]


CHANGES = [in_place, by_data, from_bytes, by_fine_tuning, by_setting]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_what_changes_in_a_run_is_never_served_from_the_cache(
    kind, path, cache_dir, on_disk, change
):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir) if on_disk else None)
    run(nlp)
    before = vectors(nlp, pipe)
    change(pipe)
    calls = spy_on(pipe)
    after = vectors(nlp, pipe)
    assert sum(calls) == len(after)
    expected = pipe.predict([nlp.make_doc(TEXT)])[0]
    assert_allclose(after[1], expected, rtol=2e-3, atol=2e-3)
    if change is not by_setting:
        assert abs(after[1] - before[1]).max() > 1e-3


def test_other_weights_and_settings_have_a_cache_of_their_own(
    kind, path, cache_dir, cold, tmp_path
):
    for change in (in_place, by_setting):
        nlp = spacy.load(path)
        change(nlp.get_pipe(kind.component))
        changed = tmp_path / change.__name__
        nlp.to_disk(changed)
        nlp, pipe = build(kind, changed, cache_dir=str(cache_dir))
        if change is by_setting:
            change(pipe)
        calls = spy_on(pipe)
        run(nlp)
        assert sum(calls) == 3
    assert len(list(cache_dir.iterdir())) == 3
    # And those of before are there as they were.
    assert_equal_runs(run_without_language_model(kind, path, cache_dir), cold)


def test_weights_trained_in_half_of_a_run_are_cached_as_they_became(
    kind, path, cache_dir
):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    run(nlp)
    pipe.frozen = False
    train(nlp, STEPS, Adam(0.05))
    pipe.frozen = True
    docs = [nlp.make_doc(TEXT)]
    assert_allclose(pipe.predict_cached(docs)[0], pipe.predict(docs)[0], atol=2e-3)
    losses = train(nlp, 1, Adam(0.01))
    assert numpy.isfinite(losses[0]["tagger"])


@pytest.mark.parametrize(
    "settings",
    [{"frozen": False}, {"cache_mb": 0}, {"initial_state": "carry"}],
    ids=lambda settings: next(iter(settings)),
)
def test_where_nothing_can_be_reused_nothing_is_written(
    kind, path, cache_dir, settings
):
    if "initial_state" in settings and kind is not ELMO:
        pytest.skip("An AWD-LSTM carries no state between documents.")
    attributes = {k: settings[k] for k in ("initial_state",) if k in settings}
    settings = {k: v for k, v in settings.items() if k not in attributes}
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir), **settings)
    pipe.model.attrs.update(attributes)
    run(nlp)
    assert not cache_dir.exists()


def test_prediction_neither_makes_nor_reads_the_folder(
    kind, path, cache_dir, cold, tmp_path
):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    run(nlp)
    expected, before = nlp(TEXT), files(cache_dir)
    nlp.to_disk(tmp_path / "pipeline")
    assert files(cache_dir) == before
    # The setting belongs to training, on a machine that has that folder.
    for path in before:
        path.unlink()
    for folder in (*cache_dir.iterdir(), cache_dir, cache_dir.parent):
        folder.rmdir()
    cache_dir.parent.write_text("a file", encoding="utf-8")
    loaded = spacy.load(tmp_path / "pipeline")
    block = loaded.config["components"][kind.component]
    assert block["cache_dir"] == str(cache_dir)
    for doc in (loaded(TEXT), *loaded.pipe([TEXT] * 2, n_process=2)):
        assert_allclose(doc.tensor, expected.tensor, atol=1e-6)
    assert cache_dir.parent.is_file()


@pytest.mark.parametrize("place", ["file", "below a file"])
def test_a_folder_that_cannot_be_is_an_error_before_training(
    kind, path, tmp_path, place
):
    file = tmp_path / "file"
    file.write_text("not a folder", encoding="utf-8")
    cache_dir = file if place == "file" else file / "folder"
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    calls = spy_on(pipe)
    expected = rf"\[components.{kind.component}\] cache_dir = '{cache_dir}'.*null"
    with pytest.raises(ValueError, match=expected):
        nlp.initialize(lambda: tagged(nlp))
    # A sourced component is not initialized, but those that listen are.
    pipe.shim.load(spacy.load(path).get_pipe(kind.component).shim.checkpoint())
    with nlp.select_pipes(disable=[kind.component]):
        with pytest.raises(ValueError, match=expected):
            nlp.initialize(lambda: tagged(nlp))
    assert calls == []


def test_a_trained_component_is_copied_and_sent_to_other_processes(
    kind, path, cache_dir, cold
):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    run(nlp)
    copy = pickle.loads(pickle.dumps(pipe))
    calls = spy_on(copy)
    docs = [nlp.make_doc(TEXT)]
    assert_array_equal(copy.predict_cached(docs)[0], pipe.predict_cached(docs)[0])
    assert calls == []


def test_a_cache_that_is_full_only_costs_time(kind, path, cache_dir, caplog):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    expected = run(nlp), vectors(nlp, pipe)
    for file in files(cache_dir):
        file.unlink()
    (cache_dir / "other").mkdir()
    (cache_dir / "other" / "old.f16").write_bytes(bytes(2**20))
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir), cache_mb=1)
    calls = spy_on(pipe)
    assert_close_runs((run(nlp), vectors(nlp, pipe)), expected)
    assert len(calls) > STEPS
    assert caplog.text.count("cache_mb") == 1


def test_an_unwritable_folder_only_costs_time(kind, path, cache_dir, caplog):
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    expected = run(nlp), vectors(nlp, pipe)
    (folder,) = cache_dir.iterdir()
    for file in files(cache_dir):
        file.unlink()
    folder.rmdir()
    # Where the folder of these weights is to be, there is a file.
    folder.write_text("in the way", encoding="utf-8")
    nlp, pipe = build(kind, path, cache_dir=str(cache_dir))
    assert_close_runs((run(nlp), vectors(nlp, pipe)), expected)
    assert caplog.text.count("cannot be written to") == 1
