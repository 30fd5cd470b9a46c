from pathlib import Path

import pytest
import spacy
import srsly
from spacy.cli.train import train as spacy_train
from thinc.api import Adam

from spacy_elmo_ulmfit.training.mix_report import create_mix_report, mixes

from ..pipeline.util import listener, load, tagged, tagger, train

CONFIGS = Path(__file__).parent.parent.parent / "configs"


@pytest.fixture
def nlp(elmo_path):
    top = listener()
    top["mix"] = {**top["mix"], "layers": "top"}
    senter = {**tagger(), "factory": "senter"}
    nlp = load(
        {
            "elmo_tok2vec": {"source": str(elmo_path)},
            "senter": senter,
            "morphologizer": {**tagger(top), "factory": "senter"},
            "tagger": tagger(),
        }
    )
    with nlp.select_pipes(disable=["elmo_tok2vec"]):
        nlp.initialize(lambda: tagged(nlp))
    return nlp


def test_every_mix_with_weights_is_found(nlp):
    train(nlp, 3, Adam(0.05))
    nlp.replace_listeners("elmo_tok2vec", "senter", ["model.tok2vec"])
    found = mixes(nlp)
    names = [(mix.component, mix.upstream) for mix in found]
    assert names == [("senter", None), ("tagger", "elmo_tok2vec")]
    assert all(sum(mix.shares) == pytest.approx(1.0) for mix in found)
    assert found[0].shares != found[1].shares
    assert all(mix.gamma != 1.0 for mix in found)


def test_a_pipeline_without_mixes_has_nothing_to_tell(elmo, capsys):
    assert create_mix_report()(elmo) is elmo
    assert elmo.meta["spacy_elmo_ulmfit"]["mixes"] == []
    assert capsys.readouterr().out == ""


def test_lines_are_printed_when_they_change(nlp, capsys):
    report = create_mix_report()
    assert report(nlp) is nlp
    first = capsys.readouterr().out
    line = "tagger mixes elmo_tok2vec: 0.333 0.333 0.333, gamma 1.000"
    assert line in first
    assert len(first.strip().splitlines()) == 2
    report(nlp)
    assert capsys.readouterr().out == ""
    train(nlp, 3, Adam(0.05))
    report(nlp)
    assert "tagger mixes elmo_tok2vec: 0." in capsys.readouterr().out


def test_training_leaves_the_averaged_weights_in_meta(
    elmo_path, ner_corpus, tmp_path, capsys
):
    overrides = {
        "paths.train": str(ner_corpus),
        "paths.dev": str(ner_corpus),
        "paths.elmo": str(elmo_path),
        "components.ner.model.tok2vec.embed.right.width": 12,
        "training.max_steps": 4,
        "training.eval_frequency": 2,
        "training.optimizer.learn_rate": 0.05,
    }
    spacy_train(CONFIGS / "ner_elmo.cfg", tmp_path, overrides=overrides)
    meta = srsly.read_json(tmp_path / "model-best" / "meta.json")
    (kept,) = meta["spacy_elmo_ulmfit"]["mixes"]
    (learnt,) = mixes(spacy.load(tmp_path / "model-best"))
    assert (kept["component"], kept["upstream"]) == ("ner", "elmo_tok2vec")
    assert kept["shares"] == pytest.approx(learnt.shares)
    assert kept["gamma"] == pytest.approx(learnt.gamma)
    assert kept["gamma"] != 1.0
    assert str(learnt) in capsys.readouterr().out
