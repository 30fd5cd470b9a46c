"""`lm pretrain --lm.target_vectors`: a biLM that predicts word vectors."""

import numpy
import pytest
import spacy
import srsly

from ..conftest import TEXTS
from .test_lm import CONFIGS, paths, run

COMPONENT = "elmo_tok2vec"


@pytest.fixture
def arguments(tmp_path, write_text):
    nlp = spacy.blank("en")
    for number, word in enumerate(sorted({w for text in TEXTS for w in text.split()})):
        values = numpy.random.default_rng(number).normal(size=6)
        nlp.vocab.set_vector(word, values.astype("float32"))
    nlp.to_disk(tmp_path / "vectors")
    text = write_text(TEXTS * 30)

    def function(name, *more, component=COMPONENT):
        config = tmp_path / f"{component}.cfg"
        config.write_text(CONFIGS[component], encoding="utf-8")
        log = ["--lm.logger.output_file", tmp_path / f"{name}.jsonl"]
        vectors = ["--lm.target_vectors", tmp_path / "vectors"]
        return [config, "-o", tmp_path / name, *paths(text), *log, *vectors, *more]

    return function


def test_a_model_of_vectors_is_trained_resumed_and_used(arguments, tmp_path):
    steps = ["--lm.max_steps", "12"]
    printed = run("pretrain", *arguments("out", "--lm.checkpoint_frequency", "5"))
    # What is no perplexity is not called one.
    assert "DEV DIST" in printed and "distance_backward" in printed
    assert "perplexity" not in printed
    run("pretrain", *arguments("out", *steps), "--resume")
    run("pretrain", *arguments("whole", *steps))
    rows = {
        name: list(srsly.read_jsonl(tmp_path / f"{name}.jsonl"))
        for name in ("out", "whole")
    }
    assert rows["out"][-1]["distance"] == rows["whole"][-1]["distance"]
    assert rows["whole"][-1]["distance"] < rows["whole"][0]["distance"]
    assert "perplexity" not in (tmp_path / "out" / "report.html").read_text("utf-8")

    best = tmp_path / "out" / "model-best"
    nlp = spacy.load(best)
    assert nlp("Anna drinks tea")._.elmo.layers.any()
    assert "distance" in nlp.meta["language_model"][COMPONENT]
    printed = run("evaluate", best, tmp_path / "text.txt", code=1)
    assert "has no softmax, so it has no perplexity" in printed


def test_fine_tuning_gives_it_a_softmax(arguments, tmp_path, write_text):
    run("pretrain", *arguments("out"))
    best = tmp_path / "out" / "model-best"
    tuned = [tmp_path / "elmo_tok2vec.cfg", "-o", tmp_path / "tuned", "--from", best]
    text = paths(tmp_path / "text.txt")
    assert "lm pretrain" in run(
        "finetune", *tuned, *text, "--lm.target_vectors", "x", code=1
    )
    assert "unigram_perplexity" in run("finetune", *tuned, *text)
    with tuned[0].open("a", encoding="utf-8") as config:
        config.write("\n[lm.distillation]\n")
    tuned[2] = tmp_path / "student"
    message = "has no softmax, so it predicts no words that another one could learn"
    assert message in run("finetune", *tuned, *text, code=1)


@pytest.mark.parametrize(
    "component, more, message",
    [
        ("awd_lstm_tok2vec", [], "target_vectors is for a biLM"),
        (COMPONENT, ["--lm.n_samples", "3"], "target_vectors leaves out the softmax"),
        (COMPONENT, ["--lm.target_vectors", "nowhere"], "nowhere"),
    ],
)
def test_what_has_no_meaning_is_one_sentence(arguments, component, more, message):
    printed = run("pretrain", *arguments("out", *more, component=component), code=1)
    assert message in printed and "Traceback" not in printed
