"""The page with the curves of a run."""

import io
import os
import sys
from types import ModuleType

import pytest
import srsly
from thinc.api import Config

from spacy_elmo_ulmfit.pretraining.setup import setup_pretraining
from spacy_elmo_ulmfit.pretraining.watching.report import report_to_html, write_report

from ...conftest import AWD_LSTM, BILM, TEXTS
from ...util_html import Page

LM = """
[corpora]

[corpora.train]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = "{text}"

[corpora.dev]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = "{text}"

[lm]
component = "{component}"
batch_size = 4
bptt = 8
max_steps = 6
eval_frequency = 2
min_freq = 1
learn_rate = 0.01
max_grad_norm = 0.1

[lm.optimizer]
@optimizers = "spacy-elmo-ulmfit.TorchAdamW.v1"
"""
QUIET = """
[lm.logger]
@loggers = "spacy-elmo-ulmfit.LMConsoleLogger.v1"
progress_bar = false
"""
MODELS = {"elmo_tok2vec": BILM, "awd_lstm_tok2vec": AWD_LSTM}


@pytest.fixture
def train(tmp_path, write_text):
    """Return a function that trains a small model; it returns the trainer."""

    def function(component="elmo_tok2vec", logger=QUIET, resume=False, **settings):
        text = write_text(TEXTS * 10).as_posix()
        config = MODELS[component] + LM.format(text=text, component=component) + logger
        overrides = {f"lm.{name}": value for name, value in settings.items()}
        trainer = setup_pretraining(
            Config().from_str(config, overrides=overrides, interpolate=False),
            tmp_path / "run",
            resume=resume,
        )
        trainer.train(resume=resume, stdout=io.StringIO(), stderr=io.StringIO())
        return trainer

    return function


def page_of(trainer):
    return Page((trainer.output / "report.html").read_text("utf-8"))


@pytest.mark.parametrize("component", list(MODELS))
def test_the_page_shows_the_curves_and_needs_nothing_else(train, component):
    trainer = train(component)
    page = page_of(trainer)
    assert page.outside == []
    titles = [text.split(" ")[0] for text in page.text("figcaption")]
    assert titles == ["Perplexity", "Learning", "Gradient", "Tokens"]
    lines = [attrs["points"] for tag, attrs in page.tags if tag == "polyline"]
    is_bilm = component == "elmo_tok2vec"
    # Evaluations before any step and after the second, fourth and sixth.
    expected = [4, 3, *([4, 4] if is_bilm else []), 4, 3, 3, 3]
    assert [len(points.split()) for points in lines] == expected
    text = page.text("lm-figures")[0]
    metrics = trainer.progress.metrics
    assert f"Last perplexity{metrics['perplexity']:.2f}" in text
    assert f"Vocabulary{metrics['n_words']}" in text
    assert ("Backward" in text) == is_bilm


def test_curves_go_on_after_a_resume(train):
    train(max_steps=4)
    trainer = train(max_steps=8, resume=True)
    assert [row["step"] for row in trainer.progress.rows] == [0, 2, 4, 6, 8]
    rows = page_of(trainer).texts["tbody"][0].split("\n")
    assert len([row for row in rows if row.strip()]) == 5


def test_rows_tell_norms_before_clipping_speed_and_the_time_left(train):
    first, *rows, last = train().progress.rows
    assert not {"loss", "grad_norm", "tokens_per_second", "seconds_left"} & set(first)
    for row in (*rows, last):
        # The bound is 0.1.
        assert row["grad_norm"] > 0.1
        assert row["tokens_per_second"] > 0 and row["loss"] > 0
    assert [row["seconds_left"] > 0 for row in rows] == [True, True]
    assert last["seconds_left"] == 0


def test_the_time_left_follows_epochs_too(train):
    rows = train(max_steps=0, max_epochs=2, eval_frequency=3).progress.rows
    assert rows[1]["seconds_left"] > 0
    assert rows[-1]["seconds_left"] == 0


def test_settings_cannot_break_the_page(train):
    trainer = train()
    trainer.nlp.config["lm"]["vocab_file"] = "<script>alert(1)</script>"
    assert Page(report_to_html(trainer.progress, trainer.nlp.config)).outside == []


def test_a_report_that_cannot_be_written_stops_nothing(train, tmp_path):
    trainer = train()
    (tmp_path / "report").mkdir()
    write_report(tmp_path / "report", trainer.progress, trainer.nlp.config)
    assert os.listdir(tmp_path / "report") == []


class Recorder(ModuleType):
    """Stands for a service that is told of training."""

    def __init__(self, name):
        super().__init__(name)
        self.logged, self.run, self.config = [], self, None

    def init(self, config, **settings):
        self.config = config
        return self

    def log(self, values):
        self.logged.append(dict(values))

    log_metrics = log

    def log_metric(self, name, value):
        self.log({name: value})

    def start_run(self, **settings):
        pass

    log_artifact = join = end_run = start_run

    def log_params(self, values):
        self.config = {**(self.config or {}), **values}


@pytest.mark.parametrize(
    "module, logger",
    [
        ("wandb", '@loggers = "spacy.WandbLogger.v5"\nproject_name = "x"'),
        ("mlflow", '@loggers = "spacy.MLflowLogger.v2"'),
    ],
)
def test_loggers_of_services_are_told_what_the_console_is(
    train, module, logger, monkeypatch
):
    service = Recorder(module)
    monkeypatch.setitem(sys.modules, module, service)
    trainer = train(logger=f"\n[lm.logger]\n{logger}\n")
    merged = {}
    for values in service.logged:
        merged.update(values)
    last = trainer.progress.rows[-1]
    assert merged["score"] == 1 / last["perplexity"]
    assert merged["loss_elmo_tok2vec"] == last["loss"]
    for name in ("perplexity", "perplexity_backward", "oov_rate", "learn_rate"):
        assert merged[name] == last[name]
    for name in ("grad_norm", "tokens_per_second", "seconds_left"):
        assert merged[name] == last[name]
    assert "max_steps" in srsly.json_dumps(service.config)


def test_spacys_own_console_logger_works(train, tmp_path):
    path = (tmp_path / "console.jsonl").as_posix()
    logger = f'@loggers = "spacy.ConsoleLogger.v3"\noutput_file = "{path}"'
    trainer = train(logger=f"\n[lm.logger]\n{logger}\n")
    records = list(srsly.read_jsonl(path))
    assert [record["step"] for record in records] == [0, 2, 4, 6]
    last = trainer.progress.rows[-1]
    assert records[-1]["losses"]["elmo_tok2vec"] == pytest.approx(last["loss"])
