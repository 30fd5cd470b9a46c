import logging
import os

import pytest
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining.corpus.shards import ShardedStream
from spacy_elmo_ulmfit.pretraining.setup import setup_pretraining

from ..test_loop import CONFIG, DEV, MODELS, TRAIN, run


@pytest.fixture
def prepare(tmp_path, kind):
    """Return a function that sets up a run on the texts in a folder."""
    (tmp_path / "train.txt").write_text("\n".join(TRAIN), encoding="utf-8")
    (tmp_path / "dev.txt").write_text("\n".join(DEV), encoding="utf-8")

    def function(name="run", resume=False, **settings):
        text = CONFIG.format(model=MODELS[kind], folder=tmp_path.as_posix())
        overrides = {
            f"lm.{key}" if "." not in key else key: value
            for key, value in settings.items()
        }
        config = Config().from_str(text, overrides=overrides, interpolate=False)
        return setup_pretraining(config, tmp_path / name, resume=resume)

    return function


@pytest.fixture
def log(caplog):
    caplog.set_level(logging.INFO, "spacy")
    return caplog


def times(path):
    """Return when the files of a folder were written."""
    return {file: file.stat().st_mtime_ns for file in path.rglob("*") if file.is_file()}


def append(path, text):
    with path.open("a", encoding="utf-8") as file:
        file.write(f"\n{text}")


def test_a_run_reads_its_text_once(prepare, tmp_path):
    first = prepare()
    before = times(tmp_path / "run" / "corpus")
    assert before
    second = prepare()
    assert times(tmp_path / "run" / "corpus") == before
    assert second.vocabulary.words == first.vocabulary.words
    assert second.vocabulary.counts == first.vocabulary.counts


def test_vocabulary_and_number_of_tokens_do_not_depend_on_the_shards(prepare):
    whole, cut = prepare("whole"), prepare("cut", shard_tokens=12)
    assert len(whole.train_stream) == 1 and len(cut.train_stream) > 2
    assert cut.train_stream.n_tokens == whole.train_stream.n_tokens
    assert cut.vocabulary.words == whole.vocabulary.words
    assert cut.vocabulary.counts == whole.vocabulary.counts


@pytest.mark.parametrize("n_process", [2, -1])
def test_text_is_read_in_parallel(prepare, n_process):
    trainers = prepare("one"), prepare("many", n_process=n_process)
    prints = {trainer.train_stream.fingerprint() for trainer in trainers}
    assert len(prints) == 1


@pytest.mark.parametrize("change", ["text", "limit", "shard_tokens"])
def test_what_changed_is_read_anew_and_only_that(prepare, tmp_path, log, change):
    prepare()
    dev, train = (tmp_path / "run" / "corpus" / name for name in ("dev", "train"))
    before = times(dev)
    settings = {}
    if change == "text":
        append(tmp_path / "train.txt", "the zebra sat")
    elif change == "limit":
        settings["corpora.train.limit"] = 3
    else:
        settings["shard_tokens"] = 12
    log.clear()
    trainer = prepare(**settings)
    assert ("zebra" in trainer.vocabulary) is (change == "text")
    expected = {
        "text": "files (train.txt)",
        "limit": "reader (limit)",
        "shard_tokens": "shard_tokens = 1000000, now 12",
    }
    assert f"read anew, for it changed: {expected[change]}" in log.text
    assert (times(dev) == before) is (change != "shard_tokens")
    assert trainer.train_stream.path == train


def test_a_touched_file_of_the_same_content_is_not_read_anew(prepare, tmp_path):
    prepare()
    before = times(tmp_path / "run" / "corpus")
    os.utime(tmp_path / "train.txt", ns=(1, 1))
    prepare()
    assert times(tmp_path / "run" / "corpus") == before


def test_a_resumed_run_with_another_text_says_so_before_it_trains(prepare, tmp_path):
    run(prepare(max_steps=2))
    append(tmp_path / "train.txt", "the zebra sat")
    with pytest.raises(ValueError, match=r"changed since: files \(train.txt\)"):
        prepare(resume=True, max_steps=4)
    with pytest.raises(ValueError, match="shard_tokens = 1000000, now 30"):
        prepare(resume=True, max_steps=4, shard_tokens=30)


def test_a_resumed_run_does_not_need_the_files(prepare, tmp_path):
    run(prepare(max_steps=2))
    (tmp_path / "train.txt").unlink()
    trainer = prepare(resume=True, max_steps=4)
    run(trainer, resume=True)
    assert trainer.progress.step == 4
    with pytest.raises(ValueError, match="no text at"):
        prepare(resume=False)


def test_runs_can_share_what_they_have_read(prepare, tmp_path):
    cache = str(tmp_path / "cache")
    first = prepare("first", cache_dir=cache)
    before = times(tmp_path / "cache")
    second = prepare("second", cache_dir=cache, seed=1)
    assert times(tmp_path / "cache") == before
    assert first.train_stream.path == second.train_stream.path
    assert not (tmp_path / "first" / "corpus").exists()
    # Another text does not take the place of the first one.
    append(tmp_path / "train.txt", "the zebra sat")
    third = prepare("third", cache_dir=cache)
    assert third.train_stream.path != first.train_stream.path
    assert {file: times(tmp_path / "cache")[file] for file in before} == before


def test_words_of_a_file_are_counted_over_all_shards(prepare, tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("dog\ncat\nyak\n", encoding="utf-8")
    trainer = prepare(vocab_file=str(words), shard_tokens=12)
    vocabulary = trainer.vocabulary
    counts = dict(zip(vocabulary.words, vocabulary.counts))
    assert {counts["dog"], counts["cat"], counts["yak"]} == {4, 2, 0}
    n_tokens = trainer.train_stream.n_tokens
    boundaries = counts.get("</S>", 0)
    assert sum(vocabulary.counts) == n_tokens + boundaries


@pytest.mark.parametrize("name", ["train", "dev"])
def test_an_empty_text_is_named_and_leaves_nothing(prepare, tmp_path, name):
    (tmp_path / f"{name}.txt").write_text("\n \n")
    with pytest.raises(ValueError, match=rf"corpus of \[corpora.{name}\] is empty"):
        prepare()
    assert not (tmp_path / "run").exists()


def test_a_missing_text_is_found_before_anything_is_read(
    prepare, tmp_path, monkeypatch
):
    (tmp_path / "dev.txt").unlink()

    def fail(*args):
        raise AssertionError("something was read")

    monkeypatch.setattr(ShardedStream, "__init__", fail)
    with pytest.raises(ValueError, match="no text at .*dev.txt"):
        prepare()


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_model_that_does_not_fit_into_memory_is_an_error_that_says_so(prepare):
    size = {"components.lm.model.embedding_dim": 10**12}
    with pytest.raises(ValueError, match="not enough memory .* words .*max_vocab"):
        prepare(**size)


def test_a_model_starts_from_the_same_weights_whether_its_text_was_there(prepare):
    first, second = prepare(), prepare()
    for one, other in zip(first.module.parameters(), second.module.parameters()):
        assert one.equal(other)
