"""`python -m spacy lm ...`, as users call it."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest
import spacy
import srsly
from spacy.tokens import DocBin

from ..conftest import AWD_LSTM, BILM, TEXTS

LM = """
[paths]
train = null
dev = null

[corpora]

[corpora.train]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = ${paths.train}

[corpora.dev]
@readers = "spacy-elmo-ulmfit.RawText.v1"
path = ${paths.dev}

[lm]
component = "%s"
batch_size = 4
bptt = 8
max_steps = 6
eval_frequency = 3
checkpoint_frequency = 3
min_freq = 1
max_grad_norm = 1.0
learn_rate = 0.01

[lm.optimizer]
@optimizers = "spacy-elmo-ulmfit.TorchAdamW.v1"

[lm.logger]
@loggers = "spacy-elmo-ulmfit.LMConsoleLogger.v1"
progress_bar = false
output_file = null
"""
CONFIGS = {
    "elmo_tok2vec": BILM + LM % "elmo_tok2vec",
    "awd_lstm_tok2vec": AWD_LSTM + LM % "awd_lstm_tok2vec",
}


def start(*arguments, **settings):
    command = [sys.executable, "-m", "spacy", "lm", *map(str, arguments)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.Popen(
        command,
        env=env,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **settings,
    )


def run(*arguments, code=0):
    process = start(*arguments)
    output, _ = process.communicate()
    assert process.returncode == code, output
    return " ".join(output.split())


def wait_for_rows(process, log, n_rows):
    """Wait until a run has written some rows of its log."""
    while not log.exists() or len(log.read_text("utf-8").splitlines()) < n_rows:
        assert process.poll() is None, process.communicate()[0]
        os.sched_yield()


@pytest.fixture
def text(write_text):
    return write_text(TEXTS * 30)


@pytest.fixture
def config(tmp_path):
    def write(component):
        path = tmp_path / f"{component}.cfg"
        path.write_text(CONFIGS[component], encoding="utf-8")
        return path

    return write


def paths(text):
    return ["--paths.train", text, "--paths.dev", text]


@pytest.mark.parametrize("component", list(CONFIGS))
def test_pretrain_finetune_evaluate(component, config, text, tmp_path):
    output, tuned = tmp_path / "out", tmp_path / "tuned"
    printed = run("pretrain", config(component), "-o", output, *paths(text))
    assert "DEV PPL" in printed and "unigram_perplexity" in printed
    nlp = spacy.load(output / "model-best")
    assert nlp("Anna drinks tea").tensor.any()
    assert nlp.meta["language_model"][component]["steps"] == 6
    # Reading a corpus leaves no trace in the pipeline.
    assert "Siemens" not in nlp.vocab.strings

    more = tmp_path / "more.txt"
    more.write_text("Anna plays the zither .\nThe zither is old .\n" * 40, "utf-8")
    arguments = ["--from", output / "model-best", "-o", tuned, *paths(more)]
    run("finetune", config(component), *arguments)
    vocabulary = spacy.load(tuned / "model-best").get_pipe(component).vocabulary
    assert "zither" in vocabulary and len(vocabulary) > len(
        nlp.get_pipe(component).vocabulary
    )

    metrics = [tmp_path / f"{name}.json" for name in ("before", "after")]
    run("evaluate", output / "model-best", more, "-o", metrics[0])
    run("evaluate", tuned / "model-best", more, "-o", metrics[1])
    before, after = map(srsly.read_json, metrics)
    assert after["perplexity"] < before["perplexity"]
    assert before["oov_rate"] > 0 == after["oov_rate"]
    assert before["n_tokens"] == after["n_tokens"]


def test_a_backward_model_is_trained_and_its_perplexity_shown(config, text, tmp_path):
    direction = "--components.awd_lstm_tok2vec.model.direction"
    arguments = ["-o", tmp_path / "out", *paths(text), direction, "backward"]
    printed = run("pretrain", config("awd_lstm_tok2vec"), *arguments)
    assert "perplexity_backward" in printed
    assert "perplexity_forward" not in printed


def test_settings_can_be_overridden(config, text, tmp_path):
    arguments = ["-o", tmp_path / "out", *paths(text), "--lm.max_steps", "2"]
    run("pretrain", config("elmo_tok2vec"), *arguments)
    meta = spacy.load(tmp_path / "out" / "model-last").meta
    assert meta["language_model"]["elmo_tok2vec"]["steps"] == 2


def test_a_killed_run_resumes_step_for_step(config, text, tmp_path):
    """SIGKILL in mid-epoch; losses of the two runs are equal to the last digit."""

    def arguments(name):
        log = ["--lm.logger.output_file", tmp_path / f"{name}.jsonl"]
        steps = ["--lm.max_steps", "30", "--lm.eval_frequency", "1"]
        return [
            config("elmo_tok2vec"),
            "-o",
            tmp_path / name,
            *paths(text),
            *log,
            *steps,
        ]

    def losses(name):
        lines = (tmp_path / f"{name}.jsonl").read_text("utf-8").splitlines()
        rows = map(json.loads, lines)
        return {row["step"]: (row["loss"], row["perplexity"]) for row in rows}

    run("pretrain", *arguments("whole"))
    process = start("pretrain", *arguments("killed"))
    log = tmp_path / "killed.jsonl"
    wait_for_rows(process, log, 10)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert max(losses("killed")) < 30
    assert "--resume" in run("pretrain", *arguments("killed"), code=1)
    run("pretrain", *arguments("killed"), "--resume")
    assert losses("killed") == losses("whole")


def test_text_in_many_files_is_read_once_in_parallel_and_in_shards(config, tmp_path):
    folder = tmp_path / "texts" / "deeper"
    folder.mkdir(parents=True)
    srsly.write_gzip_jsonl(folder / "a.jsonl.gz", ({"text": t} for t in TEXTS * 20))
    (folder / "b.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    nlp = spacy.blank("en")
    DocBin(docs=map(nlp.make_doc, TEXTS * 10)).to_disk(folder / "c.spacy")
    arguments = [
        config("awd_lstm_tok2vec"),
        *("-o", tmp_path / "out"),
        *paths(tmp_path / "texts"),
        *("--paths.dev", folder / "*.txt"),
        *("--lm.n_process", "2"),
        *("--lm.shard_tokens", "500"),
    ]
    assert re.search("in [2-9] shards in", run("pretrain", *arguments))
    assert spacy.load(tmp_path / "out" / "model-best")("Anna").tensor.any()
    assert not re.search("in [2-9] shards in", run("pretrain", *arguments))


def test_a_run_that_is_killed_while_it_reads_starts_anew(config, text, tmp_path):
    long = tmp_path / "long.txt"
    long.write_text("".join(f"{t} {i}\n" for i in range(400) for t in TEXTS), "utf-8")
    arguments = [config("elmo_tok2vec"), "-o", tmp_path / "out", *paths(text)]
    arguments += ["--paths.train", long, "--lm.checkpoint_frequency", "1000"]
    process = start("pretrain", *arguments, "--lm.shard_tokens", "1000")
    shards = tmp_path / "out" / "corpus"
    while process.poll() is None and not list(shards.glob("train.tmp/*")):
        os.sched_yield()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    run("pretrain", *arguments, "--lm.max_steps", "1")
    manifest = srsly.read_json(shards / "train" / "manifest.json")
    assert sorted(path.name for path in shards.iterdir()) == ["dev", "train"]
    assert sum(shard["n_docs"] for shard in manifest["shards"]) == 400 * len(TEXTS)


def test_a_terminated_run_saves_and_says_how_to_go_on(config, text, tmp_path):
    output, log = tmp_path / "out", tmp_path / "log.jsonl"
    steps = ["--lm.max_steps", "1000000", "--lm.eval_frequency", "1"]
    arguments = [config("awd_lstm_tok2vec"), "-o", output, *paths(text), *steps]
    process = start("pretrain", *arguments, "--lm.logger.output_file", log)
    while not log.exists():
        assert process.poll() is None, process.communicate()[0]
        os.sched_yield()
    process.terminate()
    printed = " ".join(process.communicate()[0].split())
    # As a shell reports it.
    assert process.returncode == 128 + signal.SIGTERM, printed
    step = int(next((output / "checkpoints").iterdir()).stem)
    assert f"Stopped by SIGTERM at step {step}" in printed and "--resume" in printed
    assert "Traceback" not in printed
    steps = ["--lm.max_steps", step + 1, "--lm.eval_frequency", "1"]
    arguments = [config("awd_lstm_tok2vec"), "-o", output, *paths(text), *steps]
    printed = run("pretrain", *arguments, "--resume")
    assert f"lm.max_steps: 1000000 -> {step + 1}" in printed
    meta = spacy.load(output / "model-last").meta
    assert meta["language_model"]["awd_lstm_tok2vec"]["steps"] == step + 1


@pytest.mark.parametrize(
    "content, message",
    [
        (b"", "is empty"),
        (b"\n  \n", "is empty"),
        ("caf\xe9\n".encode("latin-1"), "is not UTF-8"),
    ],
)
def test_a_bad_corpus_is_one_sentence_and_leaves_nothing(
    content, message, config, text, tmp_path
):
    bad = tmp_path / "bad.txt"
    bad.write_bytes(content)
    arguments = ["--paths.train", bad, "--paths.dev", text, "-o", tmp_path / "out"]
    printed = run("pretrain", config("elmo_tok2vec"), *arguments, code=1)
    assert message in printed and "Traceback" not in printed
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "override, message",
    [
        (["--lm.component", "ner"], "'ner' is not in the pipeline"),
        (["--lm.batch_size", "100000"], "too few for [lm] batch_size"),
        (["--lm.bppt", "3"], "bppt"),
        (["--lm.max_steps", "0"], "never end"),
        (["--paths.dev", "nowhere.txt"], "no text at nowhere.txt"),
    ],
)
def test_a_bad_config_is_one_sentence(override, message, config, text, tmp_path):
    arguments = [*paths(text), "-o", tmp_path / "out", *override]
    printed = run("pretrain", config("elmo_tok2vec"), *arguments, code=1)
    assert message in printed and "Traceback" not in printed


@pytest.mark.parametrize("command", ["finetune", "evaluate"])
def test_a_pipeline_that_is_not_there_is_named(command, config, text, tmp_path):
    arguments = ["no/pipeline", text]
    if command == "finetune":
        path = config("elmo_tok2vec")
        arguments = [
            path,
            "--from",
            "no/pipeline",
            "-o",
            tmp_path / "out",
            *paths(text),
        ]
    printed = run(command, *arguments, code=1)
    assert "no pipeline 'no/pipeline'" in printed and "Traceback" not in printed
    assert not (tmp_path / "out").exists()


def test_a_pipeline_without_language_model_is_refused(text, tmp_path):
    spacy.blank("en").to_disk(tmp_path / "blank")
    printed = run("evaluate", tmp_path / "blank", text, code=1)
    assert "holds no language model" in printed


def test_a_missing_config_is_named(tmp_path):
    printed = run("pretrain", "nothing.cfg", "-o", tmp_path / "out", code=1)
    assert "no config file nothing.cfg" in printed
