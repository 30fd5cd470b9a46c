"""Every config of the project trains, is saved, loaded and predicts, with tiny models."""

from pathlib import Path

import numpy
import pytest
import spacy
from spacy.cli.train import train
from spacy.tokens import Doc, DocBin, Span
from spacy.util import load_config
from thinc.api import Config

from .conftest import BILM
from .pipeline.util import AWD_LSTM, ELMO

CONFIGS = Path(__file__).parent.parent / "configs"
NAMES = sorted(path.stem for path in CONFIGS.glob("*.cfg"))
TRAINED = [name for name in NAMES if "training" in load_config(CONFIGS / f"{name}.cfg")]
STEPS = {"training.max_steps": 3, "training.eval_frequency": 2}
BILM_MODEL = Config().from_str(BILM)["components"]["elmo_tok2vec"]["model"]
# Sizes of the tiny language models, where a block of a config must agree with them.
SIZES = {
    "spacy-elmo-ulmfit.ULMFiTClassifier.v1": {
        "embedding_dim": 8,
        "hidden_dim": 10,
        "n_layers": 2,
    },
    "spacy-elmo-ulmfit.BiLM.v1": {
        key: value for key, value in BILM_MODEL.items() if not key.startswith("@")
    },
}
SENTENCES = [
    ("Anna lives in Rome .", "NNP VBZ IN NNP .", "PER - - LOC -", "travel"),
    ("Bob drinks tea .", "NNP VBZ NN .", "PER - - -", "food"),
    ("Rome is near Oslo .", "NNP VBZ IN NNP .", "LOC - - LOC -", "travel"),
    ("Anna likes cake .", "NNP VBZ NN .", "PER - - -", "food"),
]


WIDTHS = {kind.component: kind.width for kind in (ELMO, AWD_LSTM)}


def sizes(block, path=""):
    """Overrides that give the blocks of a config the sizes of the tiny models."""
    architecture = block.get("@architectures")
    found = {f"{path}.{key}": n for key, n in SIZES.get(architecture, {}).items()}
    if block.get("upstream") in WIDTHS:
        found[f"{path}.width"] = WIDTHS[block["upstream"]]
    for key, value in block.items():
        if isinstance(value, dict):
            found.update(sizes(value, f"{path}.{key}" if path else key))
    return found


def needs_vectors(path):
    return "include_static_vectors = true" in path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Documents with the annotations of every kind of component."""
    vocab = spacy.blank("en").vocab
    docs = []
    # The parser knows only actions that are frequent.
    for text, tags, labels, category in SENTENCES * 10:
        words = text.split()
        # The second word is the verb of each sentence.
        heads = [1] * len(words)
        relations = ["nsubj", "ROOT"] + ["obl"] * (len(words) - 2)
        doc = Doc(vocab, words=words, tags=tags.split(), heads=heads, deps=relations)
        doc.ents = [
            Span(doc, i, i + 1, label)
            for i, label in enumerate(labels.split())
            if label != "-"
        ]
        doc.spans["sc"] = list(doc.ents)
        doc.cats = {name: float(name == category) for name in ("food", "travel")}
        docs.append(doc)
    path = tmp_path_factory.mktemp("corpus") / "corpus.spacy"
    DocBin(docs=docs, store_user_data=True).to_disk(path)
    return path


@pytest.fixture(scope="module")
def vectors_path(tmp_path_factory):
    """A pipeline with static vectors, as `spacy init vectors` writes it."""
    nlp = spacy.blank("en")
    for number, word in enumerate(["Anna", "Rome", "tea", "cake"]):
        nlp.vocab.set_vector(word, numpy.eye(4, dtype="f")[number])
    path = tmp_path_factory.mktemp("vectors") / "pipeline"
    nlp.to_disk(path)
    return path


@pytest.fixture
def paths(corpus, elmo_path, awd_lstm_path, backward_path, vectors_path):
    """What the keys of [paths] stand for."""
    return {
        "train": corpus,
        "dev": corpus,
        "elmo": elmo_path,
        "encoder": awd_lstm_path,
        "backward_encoder": backward_path,
        "vectors": vectors_path,
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_config_trains_a_task_or_a_language_model(name):
    config = load_config(CONFIGS / f"{name}.cfg")
    assert ("lm" in config) is not (name in TRAINED)


@pytest.mark.parametrize("name", NAMES)
def test_a_config_begins_with_what_it_is_and_its_command(name):
    lines = (CONFIGS / f"{name}.cfg").read_text(encoding="utf-8").splitlines()
    header = lines[: lines.index("")]
    assert all(line.startswith("#") for line in header)
    assert f"configs/{name}.cfg" in "".join(header)


@pytest.mark.parametrize("name", TRAINED)
def test_a_config_trains_and_its_pipeline_is_loaded_and_predicts(name, paths, tmp_path):
    path = CONFIGS / f"{name}.cfg"
    config = load_config(path)
    overrides = {
        f"paths.{key}": str(value)
        for key, value in paths.items()
        if key in config["paths"] and (key != "vectors" or needs_vectors(path))
    }
    train(path, tmp_path, overrides={**overrides, **sizes(config), **STEPS})
    nlp = spacy.load(tmp_path / "model-last")
    pipe_name = nlp.pipe_names[-1]
    if "_elmo" in name:
        learnt = nlp.meta["spacy_elmo_ulmfit"]["mixes"]
        assert len(learnt) == (2 if name == "ner_elmo_both" else 1)
        assert {mix["component"] for mix in learnt} == {pipe_name}
    doc, empty = nlp.pipe([SENTENCES[0][0], ""])
    assert len(empty) == 0
    assert len(nlp.get_pipe(pipe_name).labels) > 1
    annotated = {"ner": "ENT_IOB", "tagger": "TAG", "parser": "DEP"}
    if pipe_name in annotated:
        assert doc.has_annotation(annotated[pipe_name])
    elif pipe_name == "spancat":
        assert "sc" in doc.spans
    else:
        assert set(doc.cats) == {"food", "travel"}


@pytest.mark.parametrize("task", ["ner", "tagger"])
@pytest.mark.parametrize("kind", ["elmo", "awd_lstm"])
def test_a_baseline_differs_from_a_config_with_a_language_model_in_that_alone(
    task, kind
):
    with_model, baseline = (
        load_config(CONFIGS / f"{task}_{name}.cfg") for name in (kind, "baseline")
    )
    report = with_model["training"].pop("before_to_disk")
    assert report == {"@callbacks": "spacy-elmo-ulmfit.mix_report.v1"}
    assert baseline["training"].pop("before_to_disk") is None
    assert with_model["training"] == baseline["training"]
    networks = [
        config["components"][task]["model"].pop("tok2vec")
        for config in (with_model, baseline)
    ]
    assert with_model["components"][task] == baseline["components"][task]
    assert networks[0]["encode"] == networks[1]["encode"]
    assert networks[0]["embed"]["left"] == networks[1]["embed"]
