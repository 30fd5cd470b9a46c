"""spaCy's own commands on the shipped configs, with tiny language models."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly

CONFIGS = Path(__file__).parent.parent.parent / "configs"
WIDTH = "--components.ner.model.tok2vec.embed.right.width=12"
SIZES = [
    "--components.textcat.model.embedding_dim=8",
    "--components.textcat.model.hidden_dim=10",
    "--components.textcat.model.n_layers=2",
]
SHORT = ["--training.max_steps=4", "--training.eval_frequency=2"]


def run(*arguments, code=0, env=None):
    result = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)],
        env={**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    output = result.stdout + result.stderr
    assert result.returncode == code, output
    return " ".join(output.split())


def corpus(path):
    return [f"--paths.train={path}", f"--paths.dev={path}"]


@pytest.fixture
def ner_arguments(ner_corpus, elmo_path):
    config = CONFIGS / "ner_elmo.cfg"
    return [config, *corpus(ner_corpus), f"--paths.elmo={elmo_path}", WIDTH]


@pytest.fixture
def textcat_arguments(textcat_corpus, awd_lstm_path):
    config = CONFIGS / "textcat_ulmfit.cfg"
    return [config, *corpus(textcat_corpus), f"--paths.encoder={awd_lstm_path}", *SIZES]


@pytest.mark.parametrize("name", ["ner_arguments", "textcat_arguments"])
def test_debug_config_accepts_the_shipped_configs(name, request):
    arguments = request.getfixturevalue(name)
    printed = run("spacy", "debug", "config", *arguments, "--show-variables")
    assert "Config validation" in printed


@pytest.mark.parametrize(
    "name, component", [("ner_arguments", "ner"), ("textcat_arguments", "textcat")]
)
def test_debug_model_runs_the_component(name, component, request):
    config, *overrides = request.getfixturevalue(name)
    printed = run(
        "spacy", "debug", "model", config, component, *overrides, "-P0", "-P3"
    )
    assert "STEP 3" in printed


def test_train_evaluate_assemble_package_install(ner_arguments, ner_corpus, tmp_path):
    trained = tmp_path / "trained"
    run("spacy", "train", *ner_arguments, "-o", trained, *SHORT)
    metrics = tmp_path / "metrics.json"
    run("spacy", "evaluate", trained / "model-best", ner_corpus, "-o", metrics)
    assert {"ents_f", "speed"} <= set(srsly.read_json(metrics))

    config = tmp_path / "assemble.cfg"
    parts = "".join(
        f'[components.{name}]\nsource = "{trained / "model-best"}"\n\n'
        for name in ("elmo_tok2vec", "ner")
    )
    pipeline = (
        '[nlp]\nlang = "en"\npipeline = ["elmo_tok2vec","ner"]\n\n[components]\n\n'
    )
    config.write_text(pipeline + parts, encoding="utf-8")
    run("spacy", "assemble", config, tmp_path / "assembled")
    text = "Anna Kovacs lives in Rome ."
    expected = spacy.load(trained / "model-best")(text).to_json()["ents"]
    assert spacy.load(tmp_path / "assembled")(text).to_json()["ents"] == expected

    package = ["--name", "tiny", "--version", "1.2.3", "--build", "none"]
    (tmp_path / "packages").mkdir()
    run("spacy", "package", trained / "model-best", tmp_path / "packages", *package)
    source = tmp_path / "packages" / "en_tiny-1.2.3"
    meta = srsly.read_json(source / "meta.json")
    assert any(name.startswith("spacy-elmo-ulmfit") for name in meta["requirements"])
    target = tmp_path / "site"
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet"]
    run("pip", "install", *options, "--target", target, source)
    script = "import spacy; print('loaded', spacy.load('en_tiny').pipe_names)"
    result = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(target), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert "loaded ['elmo_tok2vec', 'ner']" in result.stdout


def test_textcat_trains_with_the_shipped_config(
    textcat_arguments, textcat_corpus, tmp_path
):
    run("spacy", "train", *textcat_arguments, "-o", tmp_path, *SHORT)
    nlp = spacy.load(tmp_path / "model-best")
    assert set(nlp("tea").cats) == {"food", "travel"}
    metrics = tmp_path / "metrics.json"
    run("spacy", "evaluate", tmp_path / "model-best", textcat_corpus, "-o", metrics)
    assert "cats_micro_f" in srsly.read_json(metrics)


def test_both_directions_are_trained_and_packaged(
    textcat_corpus, awd_lstm_path, backward_path, tmp_path
):
    config = CONFIGS / "textcat_ulmfit_both.cfg"
    encoders = [
        f"--paths.encoder={awd_lstm_path}",
        f"--paths.backward_encoder={backward_path}",
    ]
    sizes = [
        size.replace("model.", f"model.{direction}.")
        for size in SIZES
        for direction in ("forward", "backward")
    ]
    arguments = [config, *corpus(textcat_corpus), *encoders, *sizes]
    run("spacy", "train", *arguments, "-o", tmp_path, *SHORT)
    (tmp_path / "packages").mkdir()
    options = ["--name", "both", "--version", "1.2.3", "--build", "none"]
    run("spacy", "package", tmp_path / "model-best", tmp_path / "packages", *options)
    packaged = tmp_path / "packages" / "en_both-1.2.3" / "en_both" / "en_both-1.2.3"
    files = {path.name for path in (packaged / "textcat").glob("*.safetensors")}
    assert files == {"forward.safetensors", "backward.safetensors"}
    nlp = spacy.load(tmp_path / "model-best")
    assert spacy.load(packaged)("tea").cats == nlp("tea").cats


def test_find_threshold_is_for_several_labels(
    textcat_arguments, textcat_corpus, tmp_path
):
    arguments = [CONFIGS / "textcat_ulmfit_multilabel.cfg", *textcat_arguments[1:]]
    run("spacy", "train", *arguments, "-o", tmp_path, *SHORT)
    pipeline = [tmp_path / "model-best", textcat_corpus, "textcat", "threshold"]
    printed = run("spacy", "find-threshold", *pipeline, "cats_macro_f", "-n", "3")
    assert "0.5" in printed


@pytest.mark.parametrize(
    "name", sorted(path.name for path in CONFIGS.glob("*.cfg")), ids=str
)
def test_every_shipped_config_is_complete_and_valid(name):
    from spacy.util import load_config

    config = load_config(CONFIGS / name)
    assert {"paths", "corpora"} <= set(config)
    assert "lm" in config or "training" in config
