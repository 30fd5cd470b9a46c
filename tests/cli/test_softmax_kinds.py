"""Language models with a sampled or an adaptive softmax, from config to text."""

import pytest
import spacy
import srsly
import torch
from spacy.training import Example

from ..conftest import TEXTS
from ..reference.commands import run
from .test_lm import CONFIGS, paths

CUTOFFS = [10, 20]
EXPORTS = {"elmo_tok2vec": "bilm-tf", "awd_lstm_tok2vec": "fastai"}
COMPONENTS = sorted(CONFIGS)


@pytest.fixture
def pretrain(write_text, tmp_path):
    """Return a function that pretrains and returns the output folder and the text."""
    text = write_text(TEXTS * 30)

    def function(component, *settings, code=0):
        config = tmp_path / "config.cfg"
        config.write_text(CONFIGS[component], encoding="utf-8")
        output = tmp_path / "out"
        arguments = [config, "-o", output, *paths(text), *settings]
        return output, text, run("lm", "pretrain", *arguments, code=code)

    return function


def evaluated(pipeline, text, tmp_path):
    run("lm", "evaluate", pipeline, text, "-o", tmp_path / "metrics.json")
    return srsly.read_json(tmp_path / "metrics.json")


@pytest.mark.parametrize("component", COMPONENTS)
def test_perplexity_is_of_the_full_softmax_whatever_was_sampled(
    component, pretrain, tmp_path
):
    output, text, _ = pretrain(component, "--lm.n_samples", 6)
    meta = spacy.load(output / "model-last").meta["language_model"][component]
    metrics = evaluated(output / "model-last", text, tmp_path)
    assert meta["perplexity"] == pytest.approx(metrics["perplexity"], rel=1e-3)
    # Among six words nothing could be this perplexing.
    assert metrics["perplexity"] > 7


@pytest.mark.parametrize("component", COMPONENTS)
def test_an_adaptive_softmax_is_part_of_the_model(component, pretrain, tmp_path):
    cutoffs = [f"--components.{component}.model.softmax_cutoffs", CUTOFFS]
    output, text, _ = pretrain(component, *cutoffs)
    pipeline = output / "model-last"
    pipe = spacy.load(pipeline).get_pipe(component)
    module = pipe.language_model
    assert list(module.config.softmax_cutoffs) == CUTOFFS
    assert module.softmax.clusters.weight.abs().sum() > 0
    hidden = torch.randn(3, module.softmax.weight.shape[1])
    probs = module.softmax.logits(hidden).exp().sum(dim=1)
    torch.testing.assert_close(probs, torch.ones(3))
    before = evaluated(pipeline, text, tmp_path)["perplexity"]

    more = tmp_path / "more.txt"
    more.write_text("Anna plays the zither .\nThe zither is old .\n" * 40, "utf-8")
    config, tuned = tmp_path / "config.cfg", tmp_path / "tuned"
    run("lm", "finetune", config, "--from", pipeline, "-o", tuned, *paths(more))
    again = spacy.load(tuned / "model-last").get_pipe(component)
    assert "zither" in again.vocabulary
    assert list(again.language_model.config.softmax_cutoffs) == CUTOFFS
    assert evaluated(tuned / "model-last", text, tmp_path)["perplexity"] < 2 * before

    arguments = [pipeline, tmp_path / "exported", "--format", EXPORTS[component]]
    assert "adaptive softmax" in run("lm", "export", *arguments, code=1)


@pytest.mark.parametrize(
    "settings, message",
    [
        (["--lm.n_samples", 5000], "n_samples = 5000 words cannot be sampled"),
        (["{model}.softmax_cutoffs", [10, 5000]], "[10, 5000] must be rising"),
        (
            ["{model}.softmax_cutoffs", [10], "--lm.n_samples", 6],
            "adaptive softmax, which is not sampled",
        ),
    ],
)
def test_what_does_not_fit_the_vocabulary_is_one_sentence(settings, message, pretrain):
    component = "awd_lstm_tok2vec"
    model = f"--components.{component}.model"
    arguments = [str(setting).replace("{model}", model) for setting in settings]
    _, _, printed = pretrain(component, *arguments, code=1)
    assert message in printed


def test_a_vocabulary_smaller_than_the_cutoffs_is_refused(pretrain, tmp_path):
    component = "awd_lstm_tok2vec"
    cutoffs = [f"--components.{component}.model.softmax_cutoffs", CUTOFFS]
    output, _, _ = pretrain(component, *cutoffs)
    few = tmp_path / "few.txt"
    few.write_text("tea and tea\n" * 40, "utf-8")
    arguments = ["--from", output / "model-last", "-o", tmp_path / "tuned", *paths(few)]
    arguments += ["--lm.vocabulary", "replace"]
    printed = run("lm", "finetune", tmp_path / "config.cfg", *arguments, code=1)
    assert "softmax_cutoffs = [10, 20] must be rising" in printed


def test_a_classifier_starts_from_a_model_with_an_adaptive_softmax(pretrain, tmp_path):
    component = "awd_lstm_tok2vec"
    cutoffs = [f"--components.{component}.model.softmax_cutoffs", CUTOFFS]
    output, _, _ = pretrain(component, *cutoffs)
    nlp = spacy.blank("en")
    model = {
        "@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1",
        "embedding_dim": 8,
        "hidden_dim": 10,
        "n_layers": 2,
    }
    pipe = nlp.add_pipe("ulmfit_textcat", config={"model": model})
    examples = [
        Example.from_dict(nlp.make_doc("tea"), {"cats": {"x": x, "y": 1.0 - x}})
        for x in (0.0, 1.0)
    ]
    pipe.initialize(lambda: examples, nlp=nlp, encoder=output / "model-last")
    assert set(nlp("tea and soup").cats) == {"x", "y"}
