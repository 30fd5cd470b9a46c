"""Every way in which components read a language model, under every choice of theirs."""

import copy
import dataclasses
import pickle
from pathlib import Path

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop
from spacy.util import load_config, load_model_from_config
from thinc.api import SGD, Adam, Config

from spacy_elmo_ulmfit.layers.doc_layers import get_doc_boundaries
from spacy_elmo_ulmfit.layers.listener import is_listener, listener_state

from .util import AWD_LSTM, ELMO, WIDTH, listener, load, tagged, tagger, train

CONFIGS = Path(__file__).parent.parent.parent / "configs"
TEXT = "Anna lives in Rome .\n She works for Siemens ."
SCALAR_MIX = {
    "@architectures": "spacy-elmo-ulmfit.ScalarMix.v1",
    "n_layers": 3,
    "dropout": 0.0,
}
CONCAT = {"@architectures": "spacy-elmo-ulmfit.Concat.v1", "width": 8}
CHOICES = {
    "mix": {},
    "start": {"initial_weights": [0.5, 0.0, -0.5], "initial_gamma": 2.0, "l2": 0.1},
    "fixed": {"initial_weights": [-9e10, 1, -9e10], "train_weights": False},
    "top": {"layers": "top"},
    "average": {"layers": "average"},
    "layer": {"layers": "layer:1"},
    "concat": {"layers": "concat"},
    "token": {"layer_norm": "token"},
    "allennlp": {"layer_norm": "allennlp"},
    "bilm-tf": {"layer_norm": "bilm-tf"},
}


def choice(name="mix", upstream=None, kind=ELMO, **settings):
    """Config of a listener with one of the choices."""
    mix = {**SCALAR_MIX, **CHOICES[name], "n_layers": kind.n_layers}
    if "initial_weights" in mix:
        mix["initial_weights"] = mix["initial_weights"][: kind.n_layers]
    settings = {"width": kind.width, **settings}
    return listener(upstream or kind.component, mix=mix, **settings)


def senter(tok2vec=None):
    return {**tagger(tok2vec), "factory": "senter"}


def initialize(nlp, encoders):
    with nlp.select_pipes(disable=[n for n in encoders if n in nlp.pipe_names]):
        nlp.initialize(lambda: tagged(nlp))
    return nlp


def scores(nlp, text=TEXT):
    """Return what the tagger's network says of a text."""
    return nlp.get_pipe("tagger").model.predict([nlp(text)])[0]


def parameters(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def remove_dropout(pipe):
    config = pipe.language_model.config
    changes = {name: 0.0 for name in vars(config) if name.endswith("dropout")}
    pipe.language_model.config = dataclasses.replace(config, **changes)


def weight_of(pipe, kind):
    """A matrix of the lowest LSTM layer."""
    return dict(pipe.language_model.named_parameters())[kind.weight]


def matrix(seed=0):
    return torch.from_numpy(
        numpy.random.default_rng(seed).normal(size=(WIDTH, WIDTH)).astype("f")
    )


@pytest.fixture(params=[ELMO, AWD_LSTM], ids=str)
def kind(request):
    """A kind of language model; a test of one alone has a mark that says so."""
    return request.param


elmo_alone = pytest.mark.parametrize("kind", [ELMO], ids=["elmo"], indirect=True)
# What a mix makes of layers does not depend on where they come from.
every_choice = pytest.mark.parametrize(
    "kind, name",
    [
        *((ELMO, name) for name in CHOICES),
        *((AWD_LSTM, name) for name in ("start", "concat", "allennlp")),
    ],
    indirect=["kind"],
    ids=str,
)


@pytest.fixture
def path(kind, elmo_path, awd_lstm_path):
    """A pipeline with a language model of that kind."""
    return {ELMO: elmo_path, AWD_LSTM: awd_lstm_path}[kind]


@pytest.fixture
def build(kind, path):
    """Build a pipeline: the encoder, and components on it."""

    def build(frozen=True, **components):
        nlp = load({kind.component: {"source": str(path)}, **components})
        pipe = nlp.get_pipe(kind.component)
        pipe.frozen = frozen
        remove_dropout(pipe)
        return initialize(nlp, [kind.component])

    return build


@pytest.fixture
def encoders(kind, path, tmp_path):
    """Config of two encoders with different weights."""
    nlp = spacy.load(path)
    with torch.no_grad():
        weight_of(nlp.get_pipe(kind.component), kind).add_(1.0)
    paths = {"first": path, "second": tmp_path / "second"}
    nlp.to_disk(paths["second"])
    return {
        name: {"source": str(path), "component": kind.component}
        for name, path in paths.items()
    }


def keep_boundaries(model, gradients=None):
    """Let a language model deliver rows of sentence boundaries.

    gradients (Optional[list]): Gets the gradients of these rows.
    """
    model.attrs["keep_sentence_boundaries"] = True
    forward = model._func

    def watched(model, docs, is_train):
        outputs, backprop = forward(model, docs, is_train)

        def backprop_watched(d_outputs):
            gradients.extend(d[:, len(doc) :] for d, doc in zip(d_outputs, docs))
            return backprop(d_outputs)

        return outputs, backprop_watched

    if gradients is not None:
        model._func = watched


@every_choice
@pytest.mark.parametrize("projection", [None, 5])
def test_every_choice_trains_and_survives_disk_and_bytes(
    kind, build, tmp_path, name, projection
):
    nlp = build(tagger=tagger(choice(name, kind=kind, projection=projection)))
    losses = train(nlp, 8, Adam(0.05))
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    nlp.to_disk(tmp_path)
    from_bytes = load_model_from_config(nlp.config).from_bytes(nlp.to_bytes())
    for other in (spacy.load(tmp_path), from_bytes):
        assert_array_equal(scores(other), scores(nlp))


@every_choice
@pytest.mark.parametrize("projection", [None, 5])
def test_replaced_listeners_take_everything_along(
    kind, build, tmp_path, name, projection
):
    nlp = build(
        tagger=tagger(choice(name, kind=kind, projection=projection, grad_factor=0.5))
    )
    train(nlp, 3, Adam(0.05))
    expected = scores(nlp)
    nlp.replace_listeners(kind.component, "tagger", ["model.tok2vec"])
    nlp.remove_pipe(kind.component)
    assert_allclose(scores(nlp), expected, atol=1e-5)
    nlp.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert_allclose(scores(loaded), expected, atol=1e-5)
    block = loaded.config["components"]["tagger"]["model"]["tok2vec"]
    assert (block["projection"], block["grad_factor"]) == (projection, 0.5)
    train(loaded, 1, Adam(0.05))
    assert not numpy.allclose(scores(loaded), expected, atol=1e-4)


@every_choice
def test_only_batch_norms_make_results_depend_on_the_batch(kind, build, name):
    nlp = build(tagger=tagger(choice(name, kind=kind)))
    train(nlp, 3, Adam(0.05))
    model = nlp.get_pipe("tagger").model
    docs = list(nlp.pipe([TEXT, "Bob saw Oslo", "", "she drinks"]))
    together, alone = model.predict(docs)[0], model.predict(docs[:1])[0]
    same = numpy.allclose(together, alone, atol=1e-6)
    assert same is (name not in ("allennlp", "bilm-tf"))


def test_a_listener_with_its_own_width_stands_below_other_layers(kind, build):
    config = {
        **CONCAT,
        "left": choice("concat", kind=kind),
        "right": choice(kind=kind, projection=7),
    }
    nlp = build(tagger=tagger(config))
    widths = [node.get_dim("nO") for node in nlp.get_pipe(kind.component).listeners]
    assert widths == [kind.n_layers * kind.width, 7]
    losses = train(nlp, 10, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"]


def test_the_width_to_set_is_that_of_the_language_model(elmo_path):
    wrong = tagger(choice("concat", width=10, projection=5))
    config = {"elmo_tok2vec": {"source": str(elmo_path)}, "tagger": wrong}
    with pytest.raises(ValueError, match="(?s)'tagger' expects .* 10.*width = 12"):
        load(config)


def test_a_config_with_a_wrong_choice_says_which_ones_there_are(elmo_path):
    wrong = listener(mix={**SCALAR_MIX, "layers": "layer:3"})
    config = {"elmo_tok2vec": {"source": str(elmo_path)}, "tagger": tagger(wrong)}
    with pytest.raises(ValueError, match="layers = 'layer:3'.*k from 0 to 2"):
        load(config)


@elmo_alone
def test_a_pipeline_from_before_these_settings_loads(build, tmp_path):
    nlp = build(tagger=tagger())
    train(nlp, 3, Adam(0.05))
    nlp.to_disk(tmp_path)
    config = Config().from_disk(tmp_path / "config.cfg")
    block = config["components"]["tagger"]["model"]["tok2vec"]
    del block["projection"]
    for name in set(block["mix"]) - set(SCALAR_MIX):
        del block["mix"][name]
    config.to_disk(tmp_path / "config.cfg")
    model = nlp.get_pipe("tagger").model
    data = model.to_dict()
    for attrs in data["attrs"]:
        for name in ("width", "layers", "reads_boundaries"):
            attrs.pop(name, None)
    (tmp_path / "tagger" / "model").write_bytes(spacy.util.srsly.msgpack_dumps(data))
    loaded = spacy.load(tmp_path)
    assert_array_equal(scores(loaded), scores(nlp))
    loaded.replace_listeners("elmo_tok2vec", "tagger", ["model.tok2vec"])
    assert_allclose(scores(loaded), scores(nlp), atol=1e-5)


def test_two_listeners_of_a_component_learn_a_mix_each(kind, build, tmp_path):
    config = {
        **CONCAT,
        "left": choice(kind=kind),
        "right": choice("start", kind=kind, projection=5),
    }
    nlp = build(tagger=tagger(config))
    train(nlp, 5, Adam(0.05))
    nodes = nlp.get_pipe(kind.component).listeners
    weights = [node.layers[0].shims[0].module.weights for node in nodes]
    assert not torch.equal(*weights)
    expected = scores(nlp)
    paths = ["model.tok2vec.left", "model.tok2vec.right"]
    nlp.replace_listeners(kind.component, "tagger", paths)
    nlp.remove_pipe(kind.component)
    nlp.to_disk(tmp_path)
    assert_allclose(scores(spacy.load(tmp_path)), expected, atol=1e-5)


def test_a_language_model_gets_the_sum_of_all_listeners_gradients(kind, build):
    both = {
        **CONCAT,
        "left": choice(kind=kind),
        "right": choice("allennlp", kind=kind, grad_factor=3.0),
    }
    nlp = build(
        frozen=False, tagger=tagger(both), senter=senter(choice("top", kind=kind))
    )
    pipe = nlp.get_pipe(kind.component)
    # Output layers start at zero and send no gradient at first.
    train(nlp, 2, SGD(0.1))
    examples = tagged(nlp)
    pipe._flush()
    moved = {}
    for exclude in ("senter", "tagger", None):
        pipe.language_model.zero_grad(set_to_none=True)
        excluded = [] if exclude is None else [exclude]
        nlp.update(examples, sgd=False, exclude=excluded)
        pipe._flush()
        gradients = {n: p.grad for n, p in pipe.language_model.named_parameters()}
        moved[exclude] = {n: g.clone() for n, g in gradients.items() if g is not None}
    parts = {name.split(".")[0] for name, _ in pipe.language_model.named_parameters()}
    heads = {"head", "decoder_bias"}
    assert {name.split(".")[0] for name in moved[None]} == parts - heads
    for name, total in moved[None].items():
        one, other = moved["senter"][name], moved["tagger"][name]
        assert_allclose(total, one + other, atol=1e-5)
    for part in moved.values():
        assert part[kind.weight].abs().max() > 0


def test_grad_factor_scales_what_the_language_model_gets(kind, build):
    found = []
    for factor in (1.0, 0.25):
        numpy.random.seed(0)
        nlp = build(frozen=False, tagger=tagger(choice(kind=kind, grad_factor=factor)))
        pipe = nlp.get_pipe(kind.component)
        # The output layer starts at zero and sends no gradient at first.
        train(nlp, 1, SGD(0.1))
        pipe.language_model.zero_grad(set_to_none=True)
        nlp.update(tagged(nlp), sgd=False)
        pipe._flush()
        found.append(weight_of(pipe, kind).grad)
    assert found[0].abs().max() > 0
    assert_allclose(found[1], found[0] * 0.25, rtol=1e-4, atol=1e-7)


def test_boundaries_are_kept_apart_from_the_tokens(elmo):
    plain = elmo(TEXT)
    keep_boundaries(elmo.get_pipe("elmo_tok2vec").model)
    for text, n_boundaries in ((TEXT, 2), ("", None), (" ", None)):
        doc = elmo(text)
        assert doc._.elmo.layers.shape == (3, len(doc), WIDTH)
        assert doc.tensor.shape == (len(doc), WIDTH)
        found = doc._.elmo.boundaries
        assert (found if found is None else found.shape[1]) == n_boundaries
    assert_array_equal(elmo(TEXT)._.elmo.layers, plain._.elmo.layers)
    assert_array_equal(elmo(TEXT).tensor, plain.tensor)
    starts = [i in (0, 6) for i in range(len(plain))]
    words = [token.text for token in plain]
    split = elmo(Doc(elmo.vocab, words=words, sent_starts=starts))
    boundaries = get_doc_boundaries(split, "elmo_tok2vec")
    assert boundaries.shape == (3, 4, WIDTH)
    # <S>, </S>, <S>, </S>: the token layer does not know where it stands.
    assert_allclose(boundaries[0, :2], boundaries[0, 2:], atol=1e-6)
    copied = Doc(elmo.vocab).from_bytes(split.to_bytes())
    assert_array_equal(copied._.elmo.boundaries, boundaries)


@elmo_alone
@pytest.mark.parametrize("name", ["mix", "bilm-tf", "allennlp"])
def test_boundaries_reach_the_mix_that_wants_them(build, name):
    with_and_without = []
    for keep in (True, False):
        numpy.random.seed(0)
        nlp = build(tagger=tagger(choice(name)))
        if keep:
            keep_boundaries(nlp.get_pipe("elmo_tok2vec").model)
        losses = [step["tagger"] for step in train(nlp, 3, Adam(0.05))]
        assert scores(nlp).shape[0] == len(nlp(TEXT))
        with_and_without.append([*losses[1:], *scores(nlp).ravel()])
    same = numpy.allclose(*with_and_without, atol=1e-5)
    assert same is (name != "allennlp")


@elmo_alone
@pytest.mark.parametrize("name", ["mix", "bilm-tf", "allennlp"])
@pytest.mark.parametrize("replaced", [False, True])
def test_gradients_of_boundaries_flow_where_they_are_read(build, name, replaced):
    gradients = []
    nlp = build(frozen=False, tagger=tagger(choice(name)))
    keep_boundaries(nlp.get_pipe("elmo_tok2vec").model, gradients)
    if replaced:
        nlp.replace_listeners("elmo_tok2vec", "tagger", ["model.tok2vec"])
        nlp.remove_pipe("elmo_tok2vec")
    train(nlp, 4, Adam(0.05))
    assert gradients
    assert any(g.any() for g in gradients) is (name == "allennlp")


@elmo_alone
def test_training_vectors_and_predicted_ones_have_the_same_boundaries(build):
    nlp = build(tagger=tagger(choice("allennlp")))
    pipe = nlp.get_pipe("elmo_tok2vec")
    keep_boundaries(pipe.model)
    node = pipe.listeners[0]
    docs = [nlp.make_doc(TEXT), nlp.make_doc("")]
    asked, _ = node.begin_update(docs)
    cached, _ = node.begin_update(docs)
    pipe.set_annotations(docs, pipe.predict(docs))
    predicted = node.predict(docs)
    for one, other, third in zip(asked, cached, predicted, strict=True):
        assert_allclose(one, other, atol=1e-6)
        # The cache holds half precision.
        assert_allclose(one, third, atol=5e-3)


@elmo_alone
def test_an_alignment_acts_on_the_tensor_and_on_what_listeners_read(build):
    nlp = build(tagger=tagger(choice(projection=5)))
    pipe = nlp.get_pipe("elmo_tok2vec")
    plain, node = nlp(TEXT), pipe.listeners[0]
    mixed = nlp(TEXT)._.elmo.mix([1 / 3] * 3)
    pipe.language_model.set_alignment(matrix())
    assert pipe.alignment is pipe.language_model.alignment
    doc = nlp(TEXT)
    assert_array_equal(doc._.elmo.layers, plain._.elmo.layers)
    assert_allclose(doc.tensor, plain.tensor @ matrix().numpy().T, atol=1e-5)
    linear = node.layers[1].layers[0]
    expected = mixed @ matrix().numpy().T @ linear.get_param("W").T
    expected = expected + linear.get_param("b")
    assert_allclose(node.predict([doc])[0], expected, atol=1e-4)


@elmo_alone
def test_an_alignment_stays_as_it_is_while_the_rest_learns(build):
    nlp = build(frozen=False, tagger=tagger())
    pipe = nlp.get_pipe("elmo_tok2vec")
    pipe.language_model.set_alignment(matrix())
    losses = train(nlp, 10, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    assert torch.equal(pipe.alignment, matrix())


@elmo_alone
def test_a_replaced_listener_keeps_the_alignment(build, tmp_path):
    nlp = build(tagger=tagger(choice("start", projection=5)))
    nlp.get_pipe("elmo_tok2vec").language_model.set_alignment(matrix())
    train(nlp, 3, Adam(0.05))
    expected = scores(nlp)
    nlp.to_disk(tmp_path / "listener")
    nlp.replace_listeners("elmo_tok2vec", "tagger", ["model.tok2vec"])
    nlp.remove_pipe("elmo_tok2vec")
    nlp.to_disk(tmp_path / "replaced")
    others = [spacy.load(tmp_path / name) for name in ("listener", "replaced")]
    for other in (nlp, *others):
        assert_allclose(scores(other), expected, atol=1e-5)


@elmo_alone
def test_layers_side_by_side_and_an_alignment_are_an_error(build):
    nlp = build(tagger=tagger(choice("concat")))
    nlp.get_pipe("elmo_tok2vec").language_model.set_alignment(matrix())
    with pytest.raises(ValueError, match='"concat".*alignment'):
        nlp(TEXT)


@elmo_alone
@pytest.mark.parametrize("way", ["pickle", "copy"])
def test_copies_of_a_listener_keep_the_alignment(build, way):
    nlp = build(tagger=tagger())
    nlp.get_pipe("elmo_tok2vec").language_model.set_alignment(matrix())
    train(nlp, 2, Adam(0.05))
    model, doc = nlp.get_pipe("tagger").model, nlp(TEXT)
    if way == "pickle":
        copied = pickle.loads(pickle.dumps(model))
    else:
        copied = model.copy()
    assert_array_equal(copied.predict([doc])[0], model.predict([doc])[0])
    states = [listener_state(node) for node in copied.walk() if is_listener(node)]
    assert [state.upstream for state in states] == [None]


@pytest.fixture
def alignments(tmp_path):
    """Alignment files by language, one of a wrong shape."""
    matrices = {"en": matrix(1), "de": matrix(2), "narrow": torch.eye(3)}
    paths = {name: str(tmp_path / f"{name}.npy") for name in matrices}
    for name, path in paths.items():
        numpy.save(path, matrices[name].numpy())
    return paths


def initialize_with(elmo, **settings):
    nlp = load({"elmo_tok2vec": dict(elmo.config["components"]["elmo_tok2vec"])})
    nlp.config["initialize"]["components"] = {"elmo_tok2vec": settings}
    nlp.initialize()
    return nlp


@pytest.mark.parametrize("by_language", [True, False])
def test_initialize_reads_an_alignment(elmo, elmo_path, alignments, by_language):
    path = {"en": str(elmo_path), "de": "nowhere"} if by_language else str(elmo_path)
    alignment = alignments if by_language else alignments["en"]
    nlp = initialize_with(elmo, path=path, alignment=alignment)
    assert torch.equal(nlp.get_pipe("elmo_tok2vec").alignment, matrix(1))
    assert_array_equal(nlp(TEXT)._.elmo.layers, elmo(TEXT)._.elmo.layers)


@pytest.mark.parametrize("setting", ["path", "alignment"])
def test_a_missing_language_is_an_error_that_names_the_others(
    elmo, elmo_path, alignments, setting
):
    settings = {"path": str(elmo_path), setting: {"fr": "a", "de": "b"}}
    with pytest.raises(ValueError, match=rf"{setting} .*'en'.*\['de', 'fr'\]"):
        initialize_with(elmo, **settings)


def test_an_alignment_of_another_width_is_an_error(elmo, elmo_path, alignments):
    match = r"narrow.npy.*'elmo_tok2vec'.*\(12, 12\), not \(3, 3\)"
    with pytest.raises(ValueError, match=match):
        initialize_with(elmo, path=str(elmo_path), alignment=alignments["narrow"])


def test_an_alignment_for_a_model_that_takes_none_is_an_error(
    awd_lstm, awd_lstm_path, alignments
):
    block = awd_lstm.config["components"]["awd_lstm_tok2vec"]
    nlp = load({"awd_lstm_tok2vec": dict(block)})
    settings = {"path": str(awd_lstm_path), "alignment": alignments["en"]}
    nlp.config["initialize"]["components"] = {"awd_lstm_tok2vec": settings}
    with pytest.raises(ValueError, match="awd_lstm, which takes no alignment"):
        nlp.initialize()


def test_a_sourced_listener_reads_the_encoder_of_its_new_pipeline(kind, build, path):
    nlp = build(tagger=tagger(choice("start", kind=kind, projection=5)))
    train(nlp, 3, Adam(0.05))
    expected = scores(nlp)
    other = load({kind.component: {"source": str(path)}})
    other.add_pipe("tagger", source=nlp)
    pipe = other.get_pipe(kind.component)
    assert listener_state(pipe.listeners[0]).upstream is pipe
    assert_allclose(scores(other), expected, atol=1e-6)
    pipe.frozen = False
    before = parameters(pipe.language_model)
    train(other, 3, Adam(0.05))
    after = pipe.language_model.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_a_sourced_component_with_replaced_listeners_keeps_its_choices(
    kind, build, tmp_path
):
    nlp = build(tagger=tagger(choice("concat", kind=kind, projection=5)))
    train(nlp, 3, Adam(0.05))
    nlp.to_disk(tmp_path)
    source = {"source": str(tmp_path), "replace_listeners": ["model.tok2vec"]}
    assert_allclose(scores(load({"tagger": source})), scores(nlp), atol=1e-5)


def test_replacing_one_of_two_upstreams_leaves_the_other(kind, encoders, tmp_path):
    config = {
        **CONCAT,
        "left": choice("top", "first", kind=kind),
        "right": choice("start", "second", kind=kind, projection=5),
    }
    nlp = load({**encoders, "tagger": tagger(config)})
    initialize(nlp, encoders)
    train(nlp, 2, Adam(0.05))
    expected = scores(nlp)
    nlp.replace_listeners("second", "tagger", ["model.tok2vec.right"])
    nlp.remove_pipe("second")
    assert_allclose(scores(nlp), expected, atol=1e-5)
    nlp.to_disk(tmp_path / "replaced")
    assert_allclose(scores(spacy.load(tmp_path / "replaced")), expected, atol=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_both_kinds_of_language_model_in_one_pipeline(
    elmo_path, awd_lstm_path, frozen, tmp_path
):
    awd_lstm_mix = {**SCALAR_MIX, "n_layers": 2}
    config = {
        **CONCAT,
        "left": choice("allennlp"),
        "right": listener("awd_lstm_tok2vec", width=8, mix=awd_lstm_mix),
    }
    encoders = {
        "elmo_tok2vec": {"source": str(elmo_path)},
        "awd_lstm_tok2vec": {"source": str(awd_lstm_path)},
    }
    nlp = load({**encoders, "tagger": tagger(config)})
    pipes = [nlp.get_pipe(name) for name in encoders]
    for pipe in pipes:
        pipe.frozen = frozen
    initialize(nlp, encoders)
    before = [parameters(pipe.language_model) for pipe in pipes]
    losses = train(nlp, 10, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"]
    for pipe, old in zip(pipes, before):
        new = pipe.language_model.state_dict()
        assert all(torch.equal(old[name], new[name]) for name in old) is frozen
    nlp.to_disk(tmp_path)
    assert_allclose(scores(spacy.load(tmp_path)), scores(nlp), atol=1e-6)


def test_a_listener_to_any_encoder_reads_it_and_can_be_replaced(kind, build):
    nlp = build(tagger=tagger(choice("start", "*", kind=kind)))
    train(nlp, 2, Adam(0.05))
    expected = scores(nlp)
    nlp.replace_listeners(kind.component, "tagger", ["model.tok2vec"])
    assert_allclose(scores(nlp), expected, atol=1e-5)


def test_of_two_encoders_a_listener_to_any_reads_the_last_one(kind, encoders):
    any_one = load({**encoders, "tagger": tagger(choice("start", "*", kind=kind))})
    second = load({**encoders, "tagger": tagger(choice("start", "second", kind=kind))})
    for nlp in (any_one, second):
        numpy.random.seed(0)
        initialize(nlp, encoders)
        train(nlp, 3, Adam(0.05))
        assert nlp.get_pipe("first").listening_components == []
        assert nlp.get_pipe("second").listening_components == ["tagger"]
    assert_array_equal(scores(any_one), scores(second))


def test_updates_without_an_optimizer_of_the_user_train_everything(kind, build):
    nlp = build(frozen=False, tagger=tagger(choice(kind=kind, projection=5)))
    before = parameters(nlp.get_pipe(kind.component).language_model)
    losses = [nlp.update(tagged(nlp))["tagger"] for _ in range(10)]
    after = nlp.get_pipe(kind.component).language_model.state_dict()
    assert losses[-1] < losses[0]
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_updates_take_annotated_documents_as_well(kind, build):
    losses = []
    for annotate in (False, True):
        numpy.random.seed(0)
        nlp = build(tagger=tagger(choice("allennlp", kind=kind, projection=5)))
        examples = tagged(nlp)
        if annotate:
            encode = nlp.get_pipe(kind.component)
            examples = [Example(encode(e.predicted), e.reference) for e in examples]
        optimizer = Adam(0.05)
        steps = [nlp.update(examples, sgd=optimizer)["tagger"] for _ in range(3)]
        losses.append(steps)
    assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_a_disabled_listener_does_not_matter_to_the_others(kind, build):
    nlp = build(
        tagger=tagger(choice(kind=kind)), senter=senter(choice("top", kind=kind))
    )
    expected = scores(nlp)
    with nlp.select_pipes(disable=["senter"]):
        assert_array_equal(scores(nlp), expected)
        train(nlp, 2, Adam(0.05))
    with nlp.select_pipes(enable=[kind.component]):
        assert nlp(TEXT)._.get(kind.attribute).n_layers == kind.n_layers
    assert nlp(TEXT).has_annotation("SENT_START")


def test_the_cache_gives_a_hit_and_a_miss_the_same_numbers(kind, build):
    nlp = build(tagger=tagger(choice(kind=kind)))
    pipe, docs = nlp.get_pipe(kind.component), [nlp.make_doc(TEXT)]
    miss, hit = pipe.predict_cached(docs), pipe.predict_cached(docs)
    assert_array_equal(miss[0], hit[0])
    assert_allclose(miss[0], pipe.predict(docs)[0], atol=2e-3)


def test_training_beside_an_excluded_encoder_learns_from_it_all_the_same(kind, build):
    losses = []
    for settings in ({}, {"exclude": [kind.component]}):
        numpy.random.seed(0)
        nlp = build(tagger=tagger(choice(kind=kind)))
        steps = train(nlp, 5, Adam(0.01), **settings)
        losses.append([step["tagger"] for step in steps])
    assert_allclose(losses[0], losses[1], rtol=1e-4)


def test_training_on_annotations_of_an_excluded_encoder_works(kind, build):
    nlp = build(tagger=tagger(choice(kind=kind)))
    settings = {"exclude": [kind.component], "annotates": [kind.component]}
    losses = train(nlp, 10, Adam(0.05), **settings)
    assert losses[-1]["tagger"] < losses[0]["tagger"]


@pytest.mark.parametrize("frozen", [True, False])
def test_replaced_listeners_stay_frozen_or_not(kind, build, frozen):
    nlp = build(frozen=frozen, tagger=tagger(choice(kind=kind)))
    source = nlp.get_pipe(kind.component)
    nlp.replace_listeners(kind.component, "tagger", ["model.tok2vec"])
    nodes = nlp.get_pipe("tagger").model.walk()
    node = next(node for node in nodes if node.name == source.model.name)
    module = node.shims[0].module
    assert node.shims[0].id != source.shim.id
    before = parameters(module)
    train(nlp, 3, Adam(0.05))
    after = module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before) is frozen
    assert source.listeners == []


def loop_config(corpus, kind, path, components, **training):
    """Complete config for `spacy train`, with components of one's own."""
    config = load_config(CONFIGS / f"ner_{kind.attribute}.cfg")
    config["paths"].update(train=str(corpus), dev=str(corpus))
    config["components"][kind.component]["source"] = str(path)
    del config["components"]["ner"]
    config["components"].update(components)
    config["nlp"]["pipeline"] = list(config["components"])
    config["training"].update(
        max_steps=3, eval_frequency=10, dropout=0.0, score_weights={}, **training
    )
    return config


@pytest.mark.parametrize("frozen", [True, False])
def test_accumulated_gradients_train_the_same(kind, path, tmp_path, frozen):
    examples = tagged(spacy.blank("en"))
    DocBin(docs=[example.reference for example in examples]).to_disk(
        tmp_path / "docs.spacy"
    )
    sgd = {"@optimizers": "SGD.v1", "learn_rate": 0.1}
    tok2vec = choice("start", kind=kind, projection=5)
    found = []
    for parts in (1, 3):
        config = loop_config(
            tmp_path / "docs.spacy",
            kind,
            path,
            {"tagger": tagger(tok2vec)},
            accumulate_gradient=parts,
            optimizer=sgd,
        )
        nlp = init_nlp(config)
        pipe = nlp.get_pipe(kind.component)
        pipe.frozen = frozen
        remove_dropout(pipe)
        before = parameters(pipe.language_model)
        train_loop(nlp, None)
        after, name = pipe.language_model.state_dict(), kind.weight
        assert torch.equal(before[name], after[name]) is frozen
        weights = pipe.listeners[0].layers[0].shims[0].module.weights.detach()
        start = torch.tensor([0.5, 0.0, -0.5])[: kind.n_layers]
        assert not torch.allclose(weights, start, atol=1e-3)
        found.append([after[name] - before[name], weights])
    for one, other in zip(*found):
        assert_allclose(one, other, atol=1e-5)


def test_a_deep_copy_of_a_model_does_not_copy_its_encoder(kind, build):
    nlp = build(tagger=tagger(choice(kind=kind)))
    train(nlp, 1, Adam(0.05))
    copied = copy.deepcopy(nlp.get_pipe("tagger").model)
    (node,) = [node for node in copied.walk() if is_listener(node)]
    assert listener_state(node).upstream is None
    assert listener_state(node).outputs == []
