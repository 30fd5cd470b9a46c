import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from thinc.api import Adam, Model

from spacy_elmo_ulmfit.layers.concat import build_concat

from ..pipeline.util import listener, load, tagged, tagger, train
from ..util import make_doc

TEXT = "Anna lives in Rome ."
EMBED = {
    "@architectures": "spacy.MultiHashEmbed.v2",
    "width": 8,
    "attrs": ["NORM", "SHAPE"],
    "rows": [50, 50],
    "include_static_vectors": False,
}
ENCODE = {
    "@architectures": "spacy.MaxoutWindowEncoder.v2",
    "width": 8,
    "depth": 1,
    "window_size": 1,
    "maxout_pieces": 2,
}
MIX = {"@architectures": "spacy-elmo-ulmfit.ScalarMix.v1", "n_layers": 3}


def concat(left, right, width=None):
    return {
        "@architectures": "spacy-elmo-ulmfit.Concat.v1",
        "left": left,
        "right": right,
        "width": width,
    }


def network(embed):
    return {"@architectures": "spacy.Tok2Vec.v2", "embed": embed, "encode": ENCODE}


INPUT = network(concat(EMBED, listener(), 8))
OUTPUT = concat(network(EMBED), listener())
OUTPUT_LEFT = concat(listener(), network(EMBED))
# Its mixes differ, so that a mistaken one shows.
BOTH = concat(
    network(concat(listener(), EMBED, 8)),
    listener(mix={**MIX, "dropout": 0.1}),
)
NESTED = concat(concat(listener(), network(EMBED)), listener(), 8)
# Where the listeners are, in the order of the config.
PATHS = {
    "input": (INPUT, ["embed.right"]),
    "output": (OUTPUT, ["right"]),
    "output_left": (OUTPUT_LEFT, ["left"]),
    "both": (BOTH, ["left.embed.left", "right"]),
    "nested": (NESTED, ["left.left", "right"]),
}


@pytest.fixture(params=PATHS)
def place(request):
    return PATHS[request.param]


@pytest.fixture
def pipeline(elmo_path):
    def build(tok2vec, frozen=True):
        config = {
            "elmo_tok2vec": {"source": str(elmo_path)},
            "tagger": tagger(tok2vec),
        }
        nlp = load(config)
        nlp.get_pipe("elmo_tok2vec").frozen = frozen
        with nlp.select_pipes(disable=["elmo_tok2vec"]):
            nlp.initialize(lambda: tagged(nlp))
        return nlp

    return build


def scores(nlp):
    doc = nlp(TEXT)
    return nlp.get_pipe("tagger").model.predict([doc])[0]


def test_elmo_anywhere_in_the_network_trains_and_is_saved(pipeline, place, tmp_path):
    tok2vec, paths = place
    nlp = pipeline(tok2vec)
    assert len(nlp.get_pipe("elmo_tok2vec").listeners) == len(paths)
    losses = train(nlp, 30, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"] / 2
    for node in nlp.get_pipe("elmo_tok2vec").listeners:
        assert node.layers[0].shims[0].module.weights.abs().max() > 0
    nlp.to_disk(tmp_path)
    assert_allclose(scores(spacy.load(tmp_path)), scores(nlp), atol=1e-6)


def test_all_listeners_of_a_component_can_be_replaced(pipeline, place, tmp_path):
    tok2vec, paths = place
    nlp = pipeline(tok2vec)
    train(nlp, 5, Adam(0.05))
    expected = scores(nlp)
    listeners = [f"model.tok2vec.{path}" for path in paths]
    nlp.replace_listeners("elmo_tok2vec", "tagger", listeners)
    nlp.remove_pipe("elmo_tok2vec")
    assert_allclose(scores(nlp), expected, atol=1e-6)
    nlp.to_disk(tmp_path)
    assert_allclose(scores(spacy.load(tmp_path)), expected, atol=1e-6)
    train(nlp, 2, Adam(0.05))


def test_each_replaced_listener_keeps_its_own_mix_in_the_config(pipeline):
    nlp = pipeline(BOTH)
    paths = ["model.tok2vec.left.embed.left", "model.tok2vec.right"]
    nlp.replace_listeners("elmo_tok2vec", "tagger", paths)
    model = nlp.config["components"]["tagger"]["model"]["tok2vec"]
    dropouts = [
        block["mix"]["dropout"]
        for block in (model["left"]["embed"]["left"], model["right"])
    ]
    assert dropouts == [0.0, 0.1]


def test_a_component_can_be_sourced_with_both_listeners_replaced(pipeline, tmp_path):
    nlp = pipeline(BOTH)
    train(nlp, 5, Adam(0.05))
    nlp.to_disk(tmp_path)
    paths = ["model.tok2vec.left.embed.left", "model.tok2vec.right"]
    source = {"source": str(tmp_path), "replace_listeners": paths}
    alone = load({"tagger": source})
    assert_allclose(scores(alone), scores(nlp), atol=1e-6)


@pytest.mark.parametrize("muted", [0, 1])
def test_each_of_two_listeners_lets_the_language_model_learn(pipeline, muted):
    nlp = pipeline(BOTH, frozen=False)
    pipe = nlp.get_pipe("elmo_tok2vec")
    pipe.listeners[muted].attrs["grad_factor"] = 0.0
    before = pipe.language_model.forward_layers[0].weight_ih.detach().clone()
    train(nlp, 3, Adam(0.01, L2=0.0))
    assert not torch.equal(before, pipe.language_model.forward_layers[0].weight_ih)


# Inside


def recorder(width, value):
    """A layer that gives one value and writes down its gradients."""
    received = []

    def forward(model, docs, is_train):
        outputs = [model.ops.alloc2f(len(doc), width) + value for doc in docs]
        return outputs, lambda gradient: received.extend(gradient) or docs

    return Model("recorder", forward, dims={"nO": width}), received


def test_vectors_are_joined_and_gradients_split():
    (left, left_gradient), (right, right_gradient) = recorder(2, 1.0), recorder(3, 2.0)
    model = build_concat(left, right)
    assert model.get_dim("nO") == 5
    docs = [make_doc(["a", "b"]), make_doc([]), make_doc(["c"])]
    outputs, backprop = model.begin_update(docs)
    assert [rows.shape for rows in outputs] == [(2, 5), (0, 5), (1, 5)]
    assert_array_equal(outputs[2], [[1, 1, 2, 2, 2]])
    gradient = numpy.arange(10, dtype="f").reshape(2, 5)
    backprop([gradient, outputs[1], outputs[2]])
    assert_array_equal(left_gradient[0], gradient[:, :2])
    assert_array_equal(right_gradient[0], gradient[:, 2:])
    assert all(rows.flags.c_contiguous for rows in left_gradient + right_gradient)


def test_the_callers_documents_stay_as_they_are():
    model = build_concat(recorder(2, 1.0)[0], recorder(2, 1.0)[0])
    docs = [make_doc(["a", "b"])]
    outputs, backprop = model.begin_update(docs)
    backprop(outputs)
    assert len(docs) == 1


def test_no_documents_give_no_vectors():
    model = build_concat(recorder(2, 1.0)[0], recorder(2, 1.0)[0])
    outputs, backprop = model.begin_update([])
    assert outputs == [] and backprop([]) == []


def test_a_width_is_that_of_the_output():
    model = build_concat(recorder(2, 1.0)[0], recorder(3, 2.0)[0], width=4)
    docs = [make_doc(["a", "b"]), make_doc([])]
    model.initialize(X=docs)
    assert [rows.shape for rows in model.predict(docs)] == [(2, 4), (0, 4)]
