import pytest
import spacy
from spacy.cli.train import train
from spacy.tokens import DocBin
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Config

from ..pipeline.test_ulmfit_textcat import MODEL


def write(path, *labels):
    nlp = spacy.blank("en")
    docs = []
    for label in labels:
        doc = nlp.make_doc(f"some {label}")
        doc.cats = {label: 1.0}
        docs.append(doc)
    DocBin(docs=docs).to_disk(path)
    return str(path)


def config(tmp_path, dev, factory="ulmfit_textcat"):
    def reader(path):
        return {"@readers": "spacy.Corpus.v1", "path": path}

    return Config(
        {
            "nlp": {"lang": "en", "pipeline": ["textcat"]},
            "components": {"textcat": {"factory": factory, "model": MODEL}},
            "corpora": {
                "train": reader(write(tmp_path / "train.spacy", "food", "travel")),
                "dev": reader(write(tmp_path / "dev.spacy", *dev)),
            },
            "training": {"max_steps": 1},
            "initialize": {
                "after_init": {"@callbacks": "spacy-elmo-ulmfit.check_labels.v1"}
            },
        }
    )


@pytest.mark.parametrize("factory", ["ulmfit_textcat", "ulmfit_textcat_multilabel"])
def test_a_label_that_only_the_dev_data_has_is_named_and_nothing_written(
    tmp_path, factory
):
    dev = ["food", "sports", "sports"]
    spacy_config = load_model_from_config(
        config(tmp_path, dev, factory), auto_fill=True
    ).config
    path = tmp_path / "config.cfg"
    spacy_config.to_disk(path)
    message = (
        r"dev_corpus = 'corpora.dev'.* has: 'sports' \(2 documents\).*food, travel"
    )
    with pytest.raises(ValueError, match=message):
        train(path, tmp_path / "output")
    assert not list((tmp_path / "output").glob("model-*"))


def test_known_labels_pass(tmp_path):
    nlp = load_model_from_config(config(tmp_path, ["travel"]), auto_fill=True)
    doc = nlp.make_doc("some food")
    golds = [{"cats": {"food": 1.0}}, {"cats": {"travel": 1.0}}]
    nlp.initialize(lambda: [Example.from_dict(doc, gold) for gold in golds])


def test_a_pipeline_without_categories_is_left_alone(tmp_path):
    settings = config(tmp_path, ["sports"])
    settings["components"] = {"sentencizer": {"factory": "sentencizer"}}
    settings["nlp"]["pipeline"] = ["sentencizer"]
    load_model_from_config(settings, auto_fill=True).initialize()
