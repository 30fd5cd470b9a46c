import errno
import io
import itertools
import math
import os
import shutil
import signal

import pytest
import spacy
import srsly
import torch
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining import loop
from spacy_elmo_ulmfit.pretraining.evaluate import evaluate_language_model
from spacy_elmo_ulmfit.pretraining.loop import LanguageModelTrainer, scale_dropouts
from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import (
    checkpoint_files,
    load_checkpoint,
)
from spacy_elmo_ulmfit.pretraining.resuming.signals import TrainingInterrupted
from spacy_elmo_ulmfit.pretraining.setup import setup_finetuning, setup_pretraining
from spacy_elmo_ulmfit.pretraining.steps.gradient_step import GradientStep

from ..util import tiny_awd_lstm

MODELS = {
    "bilm": """
[components.lm]
factory = "elmo_tok2vec"

[components.lm.model]
@architectures = "spacy-elmo-ulmfit.BiLM.v1"
char_dim = 3
filters = [[1,4],[2,4]]
max_chars = 8
cell_dim = 6
projection_dim = 4
dropout = 0.3
""",
    "awd_lstm": """
[components.lm]
factory = "awd_lstm_tok2vec"

[components.lm.model]
@architectures = "spacy-elmo-ulmfit.AWDLSTM.v1"
embedding_dim = 4
hidden_dim = 6
n_layers = 2
""",
}
MODELS["qrnn"] = MODELS["awd_lstm"] + 'rnn = "qrnn"\n'
CONFIG = """
[nlp]
lang = "xx"
pipeline = ["lm"]

[components]
{model}
[corpora]

[corpora.train]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = "{folder}/train.txt"

[corpora.dev]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = "{folder}/dev.txt"

[lm]
component = "lm"
batch_size = 2
bptt = 5
max_steps = 9
eval_frequency = 1
checkpoint_frequency = 2
max_grad_norm = 1.0
min_freq = 1
alpha = 2.0
beta = 1.0

[lm.optimizer]
@optimizers = "spacy-elmo-ulmfit.TorchAdamW.v1"

[lm.learn_rate]
@schedules = "spacy-elmo-ulmfit.one_cycle.v1"
max_rate = 0.03
num_steps = 9

[lm.logger]
@loggers = "spacy-elmo-ulmfit.LMConsoleLogger.v1"
progress_bar = false
output_file = "{folder}/log.jsonl"
"""
# An epoch is four windows long: runs cross the edges of epochs.
TRAIN = [
    "the cat sat on the mat",
    "a dog ran",
    "the dog sat",
    "cats and dogs ran on",
] * 2
DEV = ["the dog sat on a cat", "the mat ran"]
MODEL_KINDS = sorted(MODELS)


class Killed(Exception):
    """Stands for what ends a process."""


@pytest.fixture(params=MODEL_KINDS)
def kind(request):
    return request.param


@pytest.fixture
def setup(tmp_path, kind):
    """Return a function that sets a run up in a new folder, or in one it made."""
    numbers = itertools.count()

    def function(folder=None, resume=False, train=TRAIN, **settings):
        if folder is None:
            folder = tmp_path / str(next(numbers))
            folder.mkdir()
        for name, texts in (("train", train), ("dev", DEV)):
            (folder / f"{name}.txt").write_text("\n".join(texts), encoding="utf8")
        text = CONFIG.format(model=MODELS[kind], folder=folder.as_posix())
        overrides = {f"lm.{name}": value for name, value in settings.items()}
        config = Config().from_str(text, overrides=overrides, interpolate=False)
        return setup_pretraining(config, folder / "run", resume=resume)

    return function


def run(trainer, resume=False):
    return trainer.train(resume=resume, stdout=io.StringIO(), stderr=io.StringIO())


def run_until(trainer, step, monkeypatch, resume=False):
    """Train until a step is about to be done, then die."""
    update = LanguageModelTrainer._update

    def dying(self, *args):
        if self.progress.step == step:
            raise Killed
        update(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(LanguageModelTrainer, "_update", dying)
        run(trainer, resume)


def log_of(trainer):
    """Return everything but the time that was logged of each step."""
    path = trainer.output.parent / "log.jsonl"
    records = {}
    for record in srsly.read_jsonl(path):
        for name in ("seconds", "tokens_per_second", "seconds_left"):
            record.pop(name, None)
        step = record["step"]
        # A step done again after a kill must have given the same.
        assert records.setdefault(step, record) == record
    return records


def n_columns(trainer):
    """Return the length of the rows of an epoch."""
    (stream,) = trainer.train_stream
    return trainer.text.read(stream).rows(stream.tokens, 2, pad=False).inputs.shape[2]


def assert_same_weights(one, other):
    for name, value in one.module.state_dict().items():
        assert torch.equal(value, other.module.state_dict()[name]), name


@pytest.mark.parametrize("step, n_samples", [(3, 0), (4, 0), (7, 5), (8, 0)])
def test_a_killed_and_resumed_run_is_exactly_an_uninterrupted_one(
    setup, step, n_samples, monkeypatch
):
    whole = setup(n_samples=n_samples)
    metrics = run(whole)
    killed = setup(n_samples=n_samples)
    run_until(killed, step, monkeypatch)
    # A new process would have another random state.
    torch.manual_seed(99)
    resumed = setup(killed.output.parent, resume=True, n_samples=n_samples)
    assert run(resumed, resume=True) == metrics
    assert sorted(log_of(whole)) == list(range(10))
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)
    assert resumed.progress.epoch > 0


@pytest.mark.parametrize(
    "settings",
    [
        {"shard_tokens": 12},
        {"shard_tokens": 12, "rows": "sentences", "bptt": 6},
        {"variable_bptt": True},
    ],
)
def test_a_resumed_run_reads_on_where_it_was(setup, settings, monkeypatch):
    whole = setup(**settings)
    run(whole)
    killed = setup(**settings)
    run_until(killed, 5, monkeypatch)
    torch.manual_seed(99)
    resumed = setup(killed.output.parent, resume=True, **settings)
    run(resumed, resume=True)
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)
    if "shard_tokens" in settings:
        assert len(whole.train_stream) > 1


@pytest.mark.parametrize("way", [{"shard_tokens": 12}, {"rows": "sentences"}])
def test_a_text_is_learnt_in_shards_and_sentences_too(setup, way):
    settings = {"drop_mult": 0.0, "learn_rate": 0.03, "alpha": 0.0, "beta": 0.0}
    trainer = setup(max_steps=40, eval_frequency=10, **settings, **way)
    run(trainer)
    records = log_of(trainer)
    assert trainer.progress.best_value < 0.9 * records[0]["perplexity"]
    assert records[40]["loss"] < records[20]["loss"] < records[10]["loss"]


def test_lengths_that_sentences_give_do_not_vary(setup):
    with pytest.raises(ValueError, match="variable_bptt has no meaning"):
        setup(rows="sentences", variable_bptt=True)


def test_a_run_can_be_killed_twice_and_logged_seldom(setup, monkeypatch):
    settings = {"eval_frequency": 4, "checkpoint_frequency": 1}
    whole = setup(**settings)
    run(whole)
    trainer = setup(**settings)
    run_until(trainer, 3, monkeypatch)
    folder = trainer.output.parent
    again = setup(folder, resume=True, **settings)
    run_until(again, 6, monkeypatch, resume=True)
    last = setup(folder, resume=True, **settings)
    run(last, resume=True)
    assert sorted(log_of(whole)) == [0, 4, 8, 9]
    assert log_of(last) == log_of(whole)
    assert_same_weights(whole, last)


# Steps of an interrupted run, evaluated and saved now and then.
SELDOM = {"eval_frequency": 2, "checkpoint_frequency": 4}
NTASGD = "spacy-elmo-ulmfit.NTASGD.v1"
SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture(autouse=True)
def heeded_interrupt():
    """A process in the background ignores interrupts, and so would a run in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(trainer, number, step, monkeypatch):
    """Train until a signal arrives when some steps are done, in the next one."""
    update = LanguageModelTrainer._update

    def signalled(self, *args):
        if self.progress.step == step:
            signal.raise_signal(number)
        update(self, *args)

    with monkeypatch.context() as patch, pytest.raises(TrainingInterrupted) as stopped:
        patch.setattr(LanguageModelTrainer, "_update", signalled)
        run(trainer)
    assert stopped.value.number == number
    return str(stopped.value)


@pytest.mark.parametrize(
    "number, step", [(signal.SIGTERM, 0), (signal.SIGINT, 5), (signal.SIGTERM, 8)]
)
def test_a_signal_ends_a_run_after_the_step_and_it_resumes(
    setup, number, step, monkeypatch
):
    whole = setup(**SELDOM)
    metrics = run(whole)
    stopped = setup(**SELDOM)
    message = interrupt(stopped, number, step, monkeypatch)
    path = checkpoint_files(stopped.output)[0]
    assert stopped.progress.step == step + 1 == int(path.stem)
    assert number.name in message and str(path) in message and "--resume" in message
    # Evaluation was put off, so as not to be killed in it.
    assert log_of(stopped).keys() == set(range(0, step + 1, 2))
    resumed = setup(stopped.output.parent, resume=True, **SELDOM)
    assert run(resumed, resume=True) == metrics
    assert sorted(log_of(whole)) == [0, 2, 4, 6, 8, 9]
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
@pytest.mark.parametrize("step", [0, 4, 9])
def test_a_signal_ends_an_evaluation_which_is_done_when_the_run_resumes(
    setup, step, monkeypatch
):
    settings = {**SELDOM, "optimizer": {"@optimizers": NTASGD, "nonmono": 0}}
    whole, stopped = setup(**settings), setup(**settings)
    metrics = run(whole)

    def signalled(*args, **kwargs):
        if stopped.progress.step == step:
            signal.raise_signal(signal.SIGTERM)
        return evaluate_language_model(*args, **kwargs)

    with monkeypatch.context() as patch, pytest.raises(TrainingInterrupted):
        patch.setattr(loop, "evaluate_language_model", signalled)
        run(stopped)
    assert stopped.progress.step == step not in dict(stopped.progress.history)
    resumed = setup(stopped.output.parent, resume=True, **settings)
    assert run(resumed, resume=True) == metrics
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_handlers_are_those_of_the_process_after_training(setup):
    before = [signal.getsignal(number) for number in SIGNALS]
    run(setup(max_steps=1))
    assert [signal.getsignal(number) for number in SIGNALS] == before


OPTIMIZERS = {
    "TorchAdam": {"weight_decay": 0.01},
    "TorchSGD": {"momentum": 0.9},
    "TorchAdagrad": {},
    "NTASGD": {"nonmono": 0},
}


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_learns_and_resumes(setup, name, monkeypatch):
    optimizer = {"@optimizers": f"spacy-elmo-ulmfit.{name}.v1", **OPTIMIZERS[name]}
    settings = {"optimizer": optimizer, "learn_rate": 0.5, "drop_mult": 0.0}
    whole, killed = setup(**settings), setup(**settings)
    metrics = run(whole)
    assert metrics["perplexity"] < whole.progress.history[0][1]
    run_until(killed, 7, monkeypatch)
    resumed = setup(killed.output.parent, resume=True, **settings)
    assert run(resumed, resume=True) == metrics
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_averages_are_evaluated_and_saved_and_training_goes_on_without(setup):
    optimizer = {"@optimizers": NTASGD, "nonmono": 0}
    # A rate so high that the perplexity goes up and down.
    settings = {"optimizer": optimizer, "learn_rate": 30.0, "max_steps": 12}
    trainer = setup(**settings)
    metrics = run(trainer)
    assert trainer.optimizer.averages()
    saved = spacy.load(trainer.output / "model-last").get_pipe("lm").language_model
    weights = load_checkpoint(trainer.output)["module"]["decoder_bias"]
    assert torch.equal(trainer.module.decoder_bias, weights)
    assert not torch.equal(saved.decoder_bias, weights)
    found = evaluate_language_model(saved, trainer.dev_stream, trainer.vocabulary)
    assert found["perplexity"] == pytest.approx(metrics["perplexity"])


SCHEDULES = [
    {"@schedules": "warmup_linear.v1", "initial_rate": 0.1},
    {"@schedules": "spacy-elmo-ulmfit.cosine.v1", "max_rate": 0.1},
]


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_schedule_sets_the_rate_of_every_step(setup, schedule):
    total = "num_steps" if "cosine" in schedule["@schedules"] else "total_steps"
    trainer = setup(learn_rate={**schedule, "warmup_steps": 3, total: 9})
    run(trainer)
    rates = [log_of(trainer)[step]["learn_rate"] for step in range(1, 10)]
    assert rates[:4] == sorted(rates[:4]) and rates[3] == pytest.approx(0.1)
    assert rates[3:] == sorted(rates[3:], reverse=True) and rates[-1] < 0.03


def test_gradients_of_several_windows_make_a_step(setup, monkeypatch):
    # An epoch has four windows: the third step crosses its edge.
    settings = {"accumulate_gradient": 3, "max_steps": 5, "checkpoint_frequency": 1}
    whole, killed = setup(**settings), setup(**settings)
    run(whole)
    assert whole.progress.epoch == 3 and sorted(log_of(whole)) == list(range(6))
    window = LanguageModelTrainer._read
    n_read = itertools.count()

    def dying(self, *args):
        # In the middle of the third step.
        if next(n_read) == 7:
            raise Killed
        window(self, *args)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(LanguageModelTrainer, "_read", dying)
        run(killed)
    resumed = setup(killed.output.parent, resume=True, **settings)
    run(resumed, resume=True)
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_an_epoch_ends_with_the_windows_that_are_left(setup):
    trainer = setup(accumulate_gradient=3, max_steps=0, max_epochs=1)
    run(trainer)
    assert trainer.progress.step == 2 and trainer.progress.epoch == 1


def test_equal_seeds_give_equal_runs_and_others_do_not(setup):
    first, second, third = setup(), setup(), setup(seed=1)
    for trainer in (first, second, third):
        run(trainer)
    assert log_of(first) == log_of(second) != log_of(third)


def test_training_lowers_loss_and_perplexity(setup):
    settings = {"drop_mult": 0.0, "learn_rate": 0.05, "alpha": 0.0, "beta": 0.0}
    trainer = setup(max_steps=80, eval_frequency=40, **settings)
    run(trainer)
    records = log_of(trainer)
    assert records[80]["perplexity"] < 0.8 * records[0]["perplexity"]
    assert records[80]["loss"] < records[40]["loss"]


@pytest.mark.parametrize("bptt", [5, 8])
def test_logged_rate_is_that_of_the_schedule(setup, bptt):
    # Also where a step has a short window, the last of the text.
    trainer = setup(learn_rate=0.05, max_steps=6, bptt=bptt)
    run(trainer)
    rates = {row["learn_rate"] for step, row in log_of(trainer).items() if step}
    assert rates == {0.05}


@pytest.mark.parametrize("limits", [{}, {"max_steps": 0, "max_epochs": 2}])
def test_resuming_a_finished_run_trains_no_further(setup, limits, monkeypatch):
    trainer = setup(**limits)
    run(trainer)
    step = trainer.progress.step
    again = setup(trainer.output.parent, resume=True, **limits)

    def update(self, *args):
        raise AssertionError(f"step {self.progress.step + 1} of {step}")

    monkeypatch.setattr(LanguageModelTrainer, "_update", update)
    run(again, resume=True)
    assert again.progress.step == step


@pytest.mark.parametrize("max_epochs", [1, 2])
def test_max_epochs_ends_the_run_with_the_text(setup, max_epochs):
    trainer = setup(max_steps=0, max_epochs=max_epochs)
    run(trainer)
    assert trainer.progress.epoch == max_epochs
    assert trainer.progress.n_tokens == max_epochs * 2 * n_columns(trainer)


def test_patience_ends_a_run_that_gets_no_better(setup):
    trainer = setup(max_steps=50, patience=3, learn_rate=0.0)
    run(trainer)
    assert trainer.progress.step == 3


def test_model_best_is_there_after_every_run(setup):
    # As when fine-tuning makes the perplexity worse from the first step on.
    trainer = setup(max_steps=2, learn_rate=0.0)
    run(trainer)
    assert (trainer.output / "model-best" / "config.cfg").exists()


def test_a_trained_model_goes_on_with_the_words_of_other_text(setup, kind, tmp_path):
    first = setup(max_steps=2)
    run(first)
    folder = tmp_path / "other"
    folder.mkdir()
    (folder / "train.txt").write_text("a cat met the zebra\n" * 8, encoding="utf8")
    (folder / "dev.txt").write_text("the zebra ran\n", encoding="utf8")
    text = CONFIG.format(model=MODELS[kind], folder=folder.as_posix())
    source = first.output / "model-last"
    trainer = setup_finetuning(
        Config().from_str(text, interpolate=False), folder / "run", source=source
    )
    module, before = trainer.module, first.module.state_dict()
    assert "zebra" in trainer.vocabulary and "mat" in trainer.vocabulary
    assert module.config.n_words == len(trainer.vocabulary)
    for name, value in module.state_dict().items():
        # What has a row per word has other words now.
        if value.shape == before[name].shape and "warm" not in name:
            torch.testing.assert_close(value, before[name])
    metrics = run(trainer)
    assert metrics["perplexity"] < trainer.progress.history[0][1]


@pytest.mark.parametrize("kind", ["bilm", "awd_lstm"], indirect=True)
def test_killed_fine_tuning_resumes(setup, kind, monkeypatch):
    first = setup(max_steps=2)
    run(first)
    text = CONFIG.format(model="", folder=first.output.parent.as_posix())
    config = Config().from_str(text, interpolate=False)
    source = first.output / "model-last"
    outputs = [first.output.parent / name for name in ("whole", "killed")]
    whole, killed = (setup_finetuning(config, path, source=source) for path in outputs)
    metrics = run(whole)
    run_until(killed, 5, monkeypatch)
    resumed = setup_finetuning(config, outputs[1], source=source, resume=True)
    assert run(resumed, resume=True) == metrics
    assert_same_weights(whole, resumed)


def test_pipelines_load_and_predict(setup, kind):
    trainer = setup()
    metrics = run(trainer)
    for name in ("model-best", "model-last"):
        nlp = spacy.load(trainer.output / name)
        doc = nlp("the cat sat on words")
        assert doc.tensor.shape[0] == 5 and doc.tensor.any(axis=1).all()
        meta = nlp.meta["language_model"]["lm"]
        assert meta["kind"] == ("bilm" if kind == "bilm" else "awd_lstm")
        assert meta["steps"] <= 9
    last = nlp.get_pipe("lm").language_model
    assert meta["perplexity"] == pytest.approx(metrics["perplexity"], abs=1e-3)
    for parameter, other in zip(last.parameters(), trainer.module.parameters()):
        assert torch.equal(parameter.cpu(), other.cpu())


def test_model_best_has_the_lowest_perplexity(setup):
    trainer = setup()
    run(trainer)
    perplexities = {step: row["perplexity"] for step, row in log_of(trainer).items()}
    best = min((s for s in perplexities if s), key=lambda s: perplexities[s])
    nlp = spacy.load(trainer.output / "model-best")
    assert nlp.meta["language_model"]["lm"]["steps"] == best
    assert trainer.progress.best_value == pytest.approx(perplexities[best])


@pytest.mark.parametrize("kind", ["bilm"], indirect=True)
def test_saved_bilm_starts_from_a_warm_state(setup):
    trainer = setup(max_steps=2)
    run(trainer)
    assert trainer.module.warm_hidden.abs().sum() > 0
    nlp = spacy.load(trainer.output / "model-last")
    loaded = nlp.get_pipe("lm").language_model
    assert torch.equal(loaded.warm_cell, trainer.module.warm_cell)


def test_drop_mult_is_for_this_training_alone(setup, kind):
    trainer = setup(max_steps=1, drop_mult=0.5)
    dropout = "dropout" if kind == "bilm" else "weight_dropout"
    at_rest = getattr(setup(max_steps=1).module.config, dropout)
    assert getattr(trainer.module.config, dropout) == pytest.approx(at_rest / 2)
    run(trainer)
    nlp = spacy.load(trainer.output / "model-last")
    assert getattr(nlp.get_pipe("lm").language_model.config, dropout) == at_rest


def test_a_checkpoint_of_another_text_is_refused(setup, monkeypatch):
    trainer = setup()
    run_until(trainer, 3, monkeypatch)
    folder = trainer.output.parent
    shutil.rmtree(trainer.output / "corpus")
    other = setup(folder, resume=True, train=["another text", "the cat sat"] * 5)
    with pytest.raises(ValueError, match="belongs to another training text"):
        run(other, resume=True)


def test_an_unfinished_run_is_not_overwritten(setup, monkeypatch):
    trainer = setup()
    run_until(trainer, 3, monkeypatch)
    folder = trainer.output.parent
    before = load_checkpoint(trainer.output)["progress"]
    with pytest.raises(ValueError, match="interrupted.*--resume"):
        setup(folder)
    assert load_checkpoint(trainer.output)["progress"] == before


def test_a_finished_run_may_be_overwritten(setup):
    trainer = setup(max_steps=1)
    run(trainer)
    run(setup(trainer.output.parent, max_steps=2))
    assert load_checkpoint(trainer.output)["progress"]["step"] == 2


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_run_resumes_from_the_checkpoint_before_a_damaged_one(setup, monkeypatch):
    whole = setup()
    run(whole)
    killed = setup(keep_checkpoints=2)
    run_until(killed, 7, monkeypatch)
    newest, older = checkpoint_files(killed.output)
    assert (newest.stem, older.stem) == ("0000000006", "0000000004")
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = setup(killed.output.parent, resume=True)
    run(resumed, resume=True)
    assert log_of(resumed) == log_of(whole)
    assert_same_weights(whole, resumed)


@pytest.mark.parametrize(
    "setting, change",
    [
        ("batch_size", "lm.batch_size: 2 -> 3"),
        ("seed", "lm.seed: 0 -> 3"),
        ("bptt", "lm.bptt: 5 -> 3"),
    ],
)
@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_run_is_not_resumed_with_other_settings(setup, setting, change, monkeypatch):
    trainer = setup()
    run_until(trainer, 5, monkeypatch)
    other = setup(trainer.output.parent, resume=True, **{setting: 3})
    with pytest.raises(ValueError, match=f"began with other settings: {change}"):
        run(other, resume=True)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_finished_run_goes_on_with_more_steps(setup, caplog, monkeypatch):
    first = setup(learn_rate=0.01)
    run(first)
    folder, settings = first.output.parent, {"learn_rate": 0.01, "max_steps": 12}
    longer = setup(folder, resume=True, **settings)
    with caplog.at_level("INFO", logger="spacy"):
        run_until(longer, 11, monkeypatch, resume=True)
    assert "lm.max_steps: 9 -> 12" in caplog.text
    with pytest.raises(ValueError, match="interrupted"):
        setup(folder, **settings)
    run(setup(folder, resume=True, **settings), resume=True)
    whole = setup(**settings)
    run(whole)
    assert log_of(longer) == log_of(whole)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_pipeline_that_cannot_be_written_leaves_the_one_before(setup, monkeypatch):
    trainer = setup()
    to_disk = trainer.nlp.to_disk

    def write(path):
        to_disk(path)
        if "model-last" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(trainer.nlp, "to_disk", write)
    with pytest.raises(ValueError, match="model-last could not be written .No space"):
        run(trainer)
    # Not taken for a finished run: it goes on and writes the pipeline.
    resumed = setup(trainer.output.parent, resume=True)
    run(resumed, resume=True)
    assert spacy.load(resumed.output / "model-last")


def test_resuming_without_a_checkpoint_is_an_error(setup):
    with pytest.raises(ValueError, match="nothing to resume"):
        run(setup(resume=True), resume=True)


@pytest.mark.parametrize("eval_frequency", [1, 100])
def test_a_diverging_loss_is_an_error_that_says_what_to_do(setup, eval_frequency):
    trainer = setup(learn_rate=1e30, max_steps=99, eval_frequency=eval_frequency)
    with pytest.raises(ValueError, match="diverged.*learn_rate"):
        run(trainer)


def not_finite_from(step, where, monkeypatch):
    """Make the loss, or its gradients, infinite from a step on."""
    add = GradientStep.add
    n_windows = itertools.count()

    def spoil(self, loss, penalty, n_targets):
        spoilt = next(n_windows) >= step
        if spoilt and where == "loss":
            loss = loss * math.inf
        add(self, loss, penalty, n_targets)
        if spoilt and where == "gradients":
            next(self.module.parameters()).grad.fill_(math.nan)

    monkeypatch.setattr(GradientStep, "add", spoil)


@pytest.mark.parametrize("kind", ["bilm", "awd_lstm"], indirect=True)
@pytest.mark.parametrize("where", ["loss", "gradients"])
def test_what_is_not_finite_is_placed_and_costs_no_good_weights(
    setup, kind, where, monkeypatch
):
    trainer = setup(max_steps=99, checkpoint_frequency=3, eval_frequency=50)
    with monkeypatch.context() as patch, pytest.raises(ValueError) as error:
        not_finite_from(5, where, patch)
        run(trainer)
    message, path = str(error.value), checkpoint_files(trainer.output)[0]
    # An epoch of the biLM has five windows, one of the AWD-LSTM four.
    token = {"bilm": 0, "awd_lstm": 5}[kind]
    assert f"at step 6 (epoch 1, shard 0, from token {token} of each row on)" in message
    assert str(path) in message and "model-best" in message
    assert path.stem == "0000000003"
    resumed = setup(
        trainer.output.parent, resume=True, max_steps=8, checkpoint_frequency=3
    )
    assert run(resumed, resume=True)["perplexity"] > 1.0


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_weights_that_are_not_finite_replace_no_checkpoint(setup, monkeypatch):
    trainer = setup(eval_frequency=50)
    update = LanguageModelTrainer._update

    def spoil(self, *args):
        update(self, *args)
        if self.progress.step == 4:
            self.module.decoder_bias.data[0] = math.inf

    monkeypatch.setattr(LanguageModelTrainer, "_update", spoil)
    with pytest.raises(ValueError, match="no longer finite after step 4"):
        run(trainer)
    assert [path.stem for path in checkpoint_files(trainer.output)] == ["0000000002"]


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_half_precision_needs_a_gpu(setup):
    with pytest.raises(ValueError, match='"float16" needs a GPU'):
        setup(precision="float16")


@pytest.mark.parametrize("kind", ["bilm", "awd_lstm"], indirect=True)
def test_compiled_training_is_the_same_with_the_same_names(setup, monkeypatch):
    plain = setup()
    run(plain)
    compiled = []

    def record(function):
        compiled.append(function)
        return function

    monkeypatch.setattr(torch, "compile", record)
    trainer = setup(compile=True)
    run(trainer)
    assert compiled[-1].__self__ is trainer.module
    assert trainer.module.state_dict().keys() == plain.module.state_dict().keys()
    assert_same_weights(plain, trainer)


@pytest.mark.parametrize("kind", ["awd_lstm"], indirect=True)
def test_a_machine_without_a_compiler_is_told_so(setup, monkeypatch):
    def fail(function):
        raise RuntimeError("No working C++ compiler found\nand a long trace")

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(ValueError, match=r"\(No working C\+\+ compiler found\)"):
        setup(compile=True)


def test_too_little_text_for_the_rows_is_an_error(setup):
    with pytest.raises(ValueError, match="too few.*batch_size = 500"):
        run(setup(batch_size=500))


def test_large_gradients_are_clipped_by_their_global_norm(setup, monkeypatch):
    trainer = setup(max_grad_norm=0.01, max_steps=1)
    norms = []
    step = trainer.optimizer.step

    def spy():
        grads = [
            p.grad.norm() for p in trainer.module.parameters() if p.grad is not None
        ]
        norms.append(float(torch.stack(grads).norm()))
        step()

    monkeypatch.setattr(trainer.optimizer, "step", spy)
    run(trainer)
    assert norms == [pytest.approx(0.01, rel=1e-3)]


def test_rates_fall_by_layer_group_and_with_a_short_window(setup, monkeypatch):
    trainer = setup(lr_decay=2.0, learn_rate=0.1, max_steps=0, max_epochs=1, bptt=8)
    rates = []
    step = trainer.optimizer.step

    def spy():
        rates.append([group["lr"] for group in trainer.optimizer.param_groups])
        step()

    monkeypatch.setattr(trainer.optimizer, "step", spy)
    run(trainer)
    n_groups = len(trainer.module.layer_groups)
    expected = [0.1 / 2.0**depth for depth in reversed(range(n_groups))]
    assert rates[0] == pytest.approx(expected)
    rest = n_columns(trainer) % 8
    assert rest and rates[-1] == pytest.approx([r * rest / 8 for r in expected])


def test_frozen_layer_groups_move_by_nothing(setup):
    trainer = setup(trainable_groups=1, max_steps=3)
    top = trainer.module.layer_groups[-1]
    before = {name: p.clone() for name, p in trainer.module.named_parameters()}
    run(trainer)
    moved = {
        name
        for name, p in trainer.module.named_parameters()
        if not torch.equal(p, before[name])
    }
    assert moved == {name for name in before if name.startswith(top)}


def test_groups_frozen_for_the_first_steps_learn_after_them(setup, monkeypatch):
    settings = {"trainable_groups": 1, "unfreeze_steps": 4, "max_steps": 6}
    whole = setup(**settings)
    weights, step = [], whole.optimizer.step

    def spy():
        step()
        named = whole.module.named_parameters()
        weights.append({name: p.detach().clone() for name, p in named})

    monkeypatch.setattr(whole.optimizer, "step", spy)
    run(whole)
    top = whole.module.layer_groups[-1]
    for number, (before, after) in enumerate(zip(weights, weights[1:]), start=1):
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        if number < 4:
            assert moved == {name for name in before if name.startswith(top)}
        else:
            assert moved == set(before)
    for number in (2, 5):
        killed = setup(checkpoint_frequency=1, **settings)
        run_until(killed, number, monkeypatch)
        resumed = setup(
            killed.output.parent, resume=True, checkpoint_frequency=1, **settings
        )
        run(resumed, resume=True)
        assert_same_weights(whole, resumed)


def test_unfreezing_what_is_not_frozen_is_refused(setup):
    with pytest.raises(ValueError, match="Set trainable_groups"):
        setup(unfreeze_steps=4)


def test_scaling_touches_dropouts_only():
    config = tiny_awd_lstm(weight_dropout=0.4).config
    scaled = scale_dropouts(config, 0.5)
    assert scaled.weight_dropout == pytest.approx(0.2)
    assert scaled.hidden_dim == config.hidden_dim
    assert scale_dropouts(config, 1.0) == config
