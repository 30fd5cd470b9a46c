"""Two directions in one component."""

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose
from spacy.util import load_model_from_config
from thinc.api import Adam, Config

from spacy_elmo_ulmfit.layers.ulmfit_ensemble import read_for_members
from spacy_elmo_ulmfit.text import create_lm_tokenizer

from .test_labels import SPORTS, with_sports
from .test_ulmfit_textcat import MODEL, ROUNDING, TEXT, examples

BOTH = ("forward", "backward")


def ensemble(
    factory="ulmfit_textcat", initialize=None, backward=None, component=None, **model
):
    members = {
        "forward": {**MODEL, **model},
        "backward": {**MODEL, "direction": "backward", **model, **(backward or {})},
    }
    architecture = "spacy-elmo-ulmfit.ULMFiTEnsemble.v1"
    return load_model_from_config(
        Config(
            {
                "nlp": {"lang": "en", "pipeline": ["textcat"]},
                "components": {
                    "textcat": {
                        "factory": factory,
                        "model": {"@architectures": architecture, **members},
                        **(component or {}),
                    }
                },
                "initialize": {"components": {"textcat": initialize or {}}},
            }
        ),
        auto_fill=True,
    )


@pytest.fixture
def paths(awd_lstm_path, backward_path):
    return {"encoder": str(awd_lstm_path), "backward_encoder": str(backward_path)}


@pytest.fixture
def trained(paths):
    nlp = ensemble(initialize=paths)
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.005))
    for _ in range(3):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


@pytest.mark.parametrize("factory", ["ulmfit_textcat", "ulmfit_textcat_multilabel"])
def test_scores_are_the_mean_of_both(paths, factory):
    nlp = ensemble(factory, paths)
    nlp.initialize(lambda: examples(nlp))
    pipe = nlp.get_pipe("textcat")
    docs = [nlp.make_doc(text) for text in (TEXT, "tea", "")]
    forward, backward = (pipe.members[name].predict(docs) for name in BOTH)
    assert not numpy.allclose(forward, backward)
    for doc, one, other in zip(nlp.pipe([doc.text for doc in docs]), forward, backward):
        assert_allclose(list(doc.cats.values()), (one + other) / 2, rtol=1e-5)


def test_the_members_start_from_their_encoders_and_read_their_ways(paths):
    nlp = ensemble(initialize=paths)
    nlp.initialize(lambda: examples(nlp))
    pipe = nlp.get_pipe("textcat")
    doc = nlp.make_doc("tea again")
    words = [pipe.shims[name].read(doc).words for name in BOTH]
    assert words[0][0] == words[1][-1] == "xxbos"
    assert words[1] == words[0][::-1]
    for name, path in zip(BOTH, paths.values()):
        source = spacy.load(path).get_pipe("awd_lstm_tok2vec").language_model
        encoder = pipe.shims[name].module.encoder
        assert torch.equal(encoder.embedding.weight, source.embedding.weight)


def test_a_text_is_read_once_for_both_where_the_rules_are_the_same(
    trained, monkeypatch
):
    shims, n_read = trained.get_pipe("textcat").shims, []
    for name, shim in shims.items():
        read = shim.tokenizer.words
        monkeypatch.setattr(
            shim.tokenizer,
            "words",
            lambda doc, name=name, read=read: n_read.append(name) or read(doc),
        )
    trained(TEXT)
    trained.update(examples(trained))
    n_docs = 1 + len(examples(trained))
    assert n_read == ["forward"] * n_docs
    # Rules of their own are kept to.
    other = create_lm_tokenizer("v1", "en")
    monkeypatch.setattr(shims["backward"], "_tokenizer", other)
    doc = trained.make_doc("TEA,again")
    forward, backward = read_for_members(trained.get_pipe("textcat").model, [doc])
    assert forward == [shims["forward"].words_of(doc)]
    assert backward == [other.words(doc)[::-1]]
    assert backward != [forward[0][::-1]]


def test_each_member_learns_as_if_it_were_alone(paths):
    """Dropout is off, and the members have no weights in common."""
    nlp = ensemble(initialize=paths)
    nlp.initialize(lambda: examples(nlp))
    pipe = nlp.get_pipe("textcat")
    data = examples(nlp)
    docs = [e.predicted for e in data]
    expected, losses = {}, []
    for name in BOTH:
        member = pipe.members[name].copy()
        scores, backprop = member.begin_update(docs)
        loss, gradient = pipe.get_loss(data, scores)
        backprop(gradient)
        member.finish_update(Adam(0.01))
        expected[name] = dict(member.shims[0].module.named_parameters())
        losses.append(loss)
    found = nlp.update(data, sgd=Adam(0.01))
    assert found["textcat"] == pytest.approx(numpy.mean(losses), rel=1e-5)
    for name in BOTH:
        for key, value in pipe.shims[name].module.named_parameters():
            torch.testing.assert_close(value, expected[name][key])


def test_each_direction_has_a_file_of_its_own(trained, tmp_path):
    expected = trained(TEXT).cats
    trained.to_disk(tmp_path)
    files = sorted(path.name for path in (tmp_path / "textcat").glob("*.safetensors"))
    assert files == ["backward.safetensors", "forward.safetensors"]
    from_bytes = load_model_from_config(trained.config).from_bytes(trained.to_bytes())
    for nlp in (spacy.load(tmp_path), from_bytes):
        assert nlp(TEXT).cats == expected
    pipe = trained.get_pipe("textcat")
    copied = pipe.model.copy()
    assert_allclose(
        copied.predict([trained.make_doc(TEXT)])[0], list(expected.values())
    )
    assert not {s.id for m in copied.layers for s in m.shims} & {
        shim.id for shim in pipe.shims.values()
    }


def test_processes_give_the_same_scores(trained):
    expected = list(trained(TEXT).cats.values())
    for doc in trained.pipe([TEXT] * 4, n_process=2, batch_size=2):
        assert_allclose(list(doc.cats.values()), expected, atol=ROUNDING)


def test_layer_groups_of_both_are_frozen_together(trained):
    pipe = trained.get_pipe("textcat")
    assert pipe.n_layer_groups == 4
    pipe.set_trainable_groups([1])
    before = {
        (name, key): value.clone()
        for name, shim in pipe.shims.items()
        for key, value in shim.module.named_parameters()
    }
    trained.update(examples(trained), sgd=Adam(0.01, L2=0.1))
    for (name, key), value in before.items():
        now = pipe.shims[name].module.get_parameter(key)
        assert torch.equal(now, value) is not key.startswith("encoder.layers.0.")


def test_averages_are_used_and_put_back(trained):
    optimizer = Adam(0.01, use_averages=True)
    for _ in range(2):
        trained.update(examples(trained), sgd=optimizer)
    current = trained(TEXT).cats
    with trained.use_params(optimizer.averages):
        assert trained(TEXT).cats != current
    assert trained(TEXT).cats == current


def test_both_learn_more_labels(trained):
    before = [head.weight.clone() for head in heads(trained)]
    trained.get_pipe("textcat").add_label("sports")
    for old, head in zip(before, heads(trained)):
        assert torch.equal(head.weight[:2], old)
        assert len(head.weight) == 3
    trained.update(with_sports(trained), sgd=Adam(0.01))
    assert len(trained(SPORTS[0]).cats) == 3


def heads(nlp):
    shims = nlp.get_pipe("textcat").shims.values()
    return [shim.module.head.linears[-1] for shim in shims]


def test_without_encoders_both_start_from_random_weights():
    nlp = ensemble()
    nlp.initialize(lambda: examples(nlp))
    assert len(nlp(TEXT).cats) == 2


def test_encoders_of_the_wrong_direction_are_named(paths):
    swapped = dict(zip(paths, reversed(paths.values())))
    nlp = ensemble(initialize=swapped)
    message = (
        r"\[initialize.components.textcat\] encoder = '.*backward.*' holds a language "
        "model that reads backward, but the classifier there reads forward"
    )
    with pytest.raises(ValueError, match=message):
        nlp.initialize(lambda: examples(nlp))


def test_one_encoder_for_two_directions_is_refused(paths):
    del paths["backward_encoder"]
    nlp = ensemble(initialize=paths)
    with pytest.raises(ValueError, match="has encoder, but .* has 2 classifiers"):
        nlp.initialize(lambda: examples(nlp))


@pytest.mark.parametrize(
    "backward, message",
    [
        ({"direction": "forward"}, 'backward model .* has direction = "forward"'),
        ({"n_layers": 3}, "n_layers = 2 and 3"),
    ],
)
def test_models_that_do_not_go_together_are_refused(backward, message):
    with pytest.raises(ValueError, match=message):
        ensemble(backward=backward)
