import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc, DocBin
from spacy.util import load_model_from_config
from thinc.api import SGD, Adam

from .util import WIDTH, listener, load, spy_on, tagged, tagger, train

TEXT = "Anna lives in Rome .\n She works for Siemens ."


def parameters(module):
    return {name: value.clone() for name, value in module.state_dict().items()}


def changed(module, before):
    after = module.state_dict()
    return [name for name in before if not torch.equal(before[name], after[name])]


@pytest.fixture
def pipeline(elmo_path):
    def build(frozen=True, **others):
        source = {"source": str(elmo_path)}
        config = {"elmo_tok2vec": source, "tagger": tagger(), **others}
        nlp = load(config)
        pipe = nlp.get_pipe("elmo_tok2vec")
        pipe.frozen = frozen
        return nlp

    return build


def initialize(nlp):
    with nlp.select_pipes(disable=["elmo_tok2vec"]):
        nlp.initialize(lambda: tagged(nlp))
    return nlp.get_pipe("elmo_tok2vec")


def test_every_token_has_a_row_and_white_space_has_zeros(elmo):
    doc = elmo(TEXT)
    assert doc._.elmo.layers.shape == (3, len(doc), WIDTH)
    assert doc._.elmo.layers.dtype == numpy.float32
    spaces = [token.i for token in doc if token.is_space]
    words = [token.i for token in doc if not token.is_space]
    assert spaces
    assert not doc._.elmo.layers[:, spaces].any()
    assert doc._.elmo.layers[:, words].any(axis=2).all()


def test_tensor_is_the_mean_of_the_layers_and_gives_token_vectors(elmo):
    doc = elmo(TEXT)
    assert_allclose(doc.tensor, doc._.elmo.layers.mean(axis=0), rtol=1e-6)
    assert_array_equal(doc[0].vector, doc.tensor[0])
    norms = numpy.linalg.norm(doc.tensor[[0, 3]], axis=1).prod()
    cosine = float(doc.tensor[0] @ doc.tensor[3] / norms)
    assert doc[0].similarity(doc[3]) == pytest.approx(cosine, abs=1e-5)


def test_mix_is_the_weighted_sum_of_layers(elmo):
    shown = elmo(TEXT)._.elmo
    mixed = shown.mix([0.5, 0.0, 0.5], gamma=2.0)
    assert_allclose(mixed, shown.layer(0) + shown.layer(2), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="one weight per layer"):
        shown.mix([1.0])


@pytest.mark.parametrize("text", ["", " ", "\n\n", "a", "x" * 10_000, "é" * 30])
def test_unusual_documents_get_layers_of_their_length(elmo, text):
    doc = elmo(text)
    assert doc._.elmo.layers.shape == (3, len(doc), WIDTH)
    assert numpy.isfinite(doc._.elmo.layers).all()


def test_a_long_document_works(elmo):
    doc = Doc(elmo.vocab, words=["word", "other"] * 25_000)
    assert elmo(doc)._.elmo.layers.shape == (3, 50_000, WIDTH)


def test_vectors_do_not_depend_on_the_batch(elmo):
    texts = ["Anna lives in Rome .", "x", "", TEXT, "She works for Siemens ."]
    alone = [elmo(text)._.elmo.layers for text in texts]
    for batch_size in (1, 2, 5):
        together = list(elmo.pipe(reversed(texts), batch_size=batch_size))[::-1]
        for one, doc in zip(alone, together):
            assert_allclose(one, doc._.elmo.layers, atol=1e-6)


def test_sentences_are_separate_sequences(elmo):
    words = "Anna lives in Rome . She works .".split()
    plain = elmo(Doc(elmo.vocab, words=words))
    starts = [i in (0, 5) for i in range(len(words))]
    split = elmo(Doc(elmo.vocab, words=words, sent_starts=starts))
    first = elmo(Doc(elmo.vocab, words=words[:5]))
    assert_allclose(split._.elmo.layers[:, :5], first._.elmo.layers, atol=1e-6)
    assert not numpy.allclose(plain._.elmo.layers, split._.elmo.layers, atol=1e-4)


def test_initial_state_changes_the_vectors(elmo_path):
    config = {"elmo_tok2vec": {"source": str(elmo_path)}}
    warm, zeros = load(config), load(config)
    zeros.get_pipe("elmo_tok2vec").model.attrs["initial_state"] = "zeros"
    difference = warm(TEXT)._.elmo.layers - zeros(TEXT)._.elmo.layers
    assert not difference[0].any()
    assert abs(difference[1:]).max() > 1e-3


def test_layers_travel_with_the_document(elmo):
    doc = elmo(TEXT)
    copied = Doc(elmo.vocab).from_bytes(doc.to_bytes())
    stored = list(DocBin(docs=[doc], store_user_data=True).get_docs(elmo.vocab))[0]
    for other in (copied, stored):
        assert_array_equal(other._.elmo.layers, doc._.elmo.layers)


def test_processes_work_after_a_forward_on_several_threads(elmo, two_threads):
    x = torch.randn(400, 400)
    (x @ x).sum()
    texts = ["Anna lives in Rome ."] * 6
    expected = elmo(texts[0])._.elmo.layers
    docs = list(elmo.pipe(texts, n_process=2, batch_size=2))
    for doc in docs:
        assert_allclose(doc._.elmo.layers, expected, atol=1e-6)


def test_gradients_on_several_threads_are_the_same_on_every_call(elmo, two_threads):
    # As many repeated words as it takes for several threads to share the work.
    docs = [Doc(elmo.vocab, words=["a", "river", "near", "Rome"] * 100)] * 20
    model = elmo.get_pipe("elmo_tok2vec").model
    module = model.shims[0].bilm

    def gradient():
        torch.manual_seed(0)
        module.zero_grad()
        layers, backprop = model.begin_update(docs)
        backprop(layers)
        return module.token_encoder.projection.weight.grad.clone()

    first = gradient()
    assert all(torch.equal(gradient(), first) for _ in range(5))


def test_disk_and_bytes_give_the_same_vectors(elmo, elmo_path, tmp_path):
    expected = elmo(TEXT)._.elmo.layers
    elmo.to_disk(tmp_path / "copy")
    assert (tmp_path / "copy" / "elmo_tok2vec" / "model.safetensors").exists()
    assert not (tmp_path / "copy" / "elmo_tok2vec" / "model").exists()
    from_disk = spacy.load(tmp_path / "copy")
    from_bytes = load_model_from_config(elmo.config).from_bytes(elmo.to_bytes())
    for nlp in (from_disk, from_bytes):
        assert_array_equal(nlp(TEXT)._.elmo.layers, expected)


def test_a_frozen_model_does_not_move_and_each_listener_learns_its_own_mix(pipeline):
    nlp = pipeline(morphologizer={**tagger(), "factory": "senter"})
    pipe = initialize(nlp)
    before = parameters(pipe.language_model)
    train(nlp, 10, Adam(0.05))
    assert changed(pipe.language_model, before) == []
    mixes = [node.layers[0].shims[0].module.weights for node in pipe.listeners]
    assert len(mixes) == 2
    assert not torch.equal(mixes[0], mixes[1])
    assert all(mix.abs().max() > 0 for mix in mixes)


def test_a_model_that_is_not_frozen_learns(pipeline):
    nlp = pipeline(frozen=False)
    pipe = initialize(nlp)
    before = parameters(pipe.language_model)
    losses = train(nlp, 15, Adam(0.01))
    moved = changed(pipe.language_model, before)
    assert any(name.startswith("token_encoder") for name in moved)
    assert any(name.startswith("backward_layers") for name in moved)
    assert losses[-1]["tagger"] < losses[0]["tagger"]


@pytest.mark.parametrize("excluded", ["tagger", "senter"])
def test_a_frozen_listener_does_not_keep_the_model_from_learning(pipeline, excluded):
    nlp = pipeline(frozen=False, senter={**tagger(), "factory": "senter"})
    pipe = initialize(nlp)
    before = parameters(pipe.language_model)
    train(nlp, 3, Adam(0.01), exclude=[excluded])
    assert changed(pipe.language_model, before)


def test_accumulated_gradients_equal_one_batch(pipeline):
    moved = []
    for parts in ([slice(0, 3)], [slice(0, 1), slice(1, 3)]):
        torch.manual_seed(0)
        numpy.random.seed(0)
        nlp = pipeline(frozen=False)
        pipe = initialize(nlp)
        module = pipe.language_model
        module.config = type(module.config)(**{**vars(module.config), "dropout": 0.0})
        # The tagger's output layer starts at zero and sends no gradient at first.
        train(nlp, 2, Adam(0.01))
        before = parameters(module)
        optimizer = SGD(0.1)
        examples = tagged(nlp)
        for part in parts:
            nlp.update(examples[part], sgd=False)
        for _, component in nlp.pipeline:
            component.finish_update(optimizer)
        moved.append({n: module.state_dict()[n] - before[n] for n in before})
    weights = "forward_layers.0.weight_ih"
    assert moved[0][weights].abs().max() > 0
    assert_allclose(moved[0][weights], moved[1][weights], atol=1e-5)


def test_a_batch_is_computed_once_per_distinct_document(pipeline):
    nlp = pipeline()
    initialize(nlp)
    # A copy in which nothing was computed yet.
    nlp.from_bytes(nlp.to_bytes())
    calls = spy_on(nlp.get_pipe("elmo_tok2vec"))
    train(nlp, 4, Adam(0.01))
    assert calls == [3]


def test_the_cache_is_emptied_when_weights_are_loaded(pipeline, elmo_path):
    nlp = pipeline()
    pipe = initialize(nlp)
    calls = spy_on(pipe)
    train(nlp, 2, Adam(0.01))
    pipe.from_disk(elmo_path / "elmo_tok2vec", exclude=["vocab"])
    calls.clear()
    train(nlp, 2, Adam(0.01))
    assert calls == [3]


def test_a_listener_without_upstream_says_what_to_do():
    nlp = load({"tagger": tagger()})
    with pytest.raises(ValueError, match='upstream = "elmo_tok2vec".*before it'):
        nlp.initialize(lambda: tagged(nlp))


def test_a_listener_of_the_wrong_width_names_both(elmo_path):
    wrong = tagger(listener(width=512))
    config = {"elmo_tok2vec": {"source": str(elmo_path)}, "tagger": wrong}
    with pytest.raises(ValueError, match="(?s)'tagger' expects .* 512.*width = 12"):
        load(config)


def test_a_config_of_another_width_than_the_weights_is_refused(elmo_path, tmp_path):
    nlp = spacy.load(elmo_path)
    nlp.to_disk(tmp_path)
    path = tmp_path / "config.cfg"
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace("cell_dim = 12", "cell_dim = 13"), encoding="utf-8")
    with pytest.raises(ValueError, match="cell_dim = 13.*model.safetensors.*12"):
        spacy.load(tmp_path)


def test_a_model_without_weights_neither_predicts_nor_initializes():
    nlp = load({"elmo_tok2vec": {"factory": "elmo_tok2vec"}})
    for call in (lambda: nlp("Anna"), lambda: nlp.initialize()):
        with pytest.raises(ValueError, match="no weights yet.*lm pretrain"):
            call()


def test_initialize_takes_weights_from_a_pipeline(elmo, elmo_path):
    config = elmo.config["components"]["elmo_tok2vec"]
    nlp = load({"elmo_tok2vec": dict(config)})
    nlp.config["initialize"]["components"] = {"elmo_tok2vec": {"path": str(elmo_path)}}
    nlp.initialize()
    assert_array_equal(nlp(TEXT)._.elmo.layers, elmo(TEXT)._.elmo.layers)


def test_initialize_refuses_another_kind_of_model(elmo, awd_lstm_path):
    nlp = load({"elmo_tok2vec": dict(elmo.config["components"]["elmo_tok2vec"])})
    settings = {"elmo_tok2vec": {"path": str(awd_lstm_path)}}
    nlp.config["initialize"]["components"] = settings
    with pytest.raises(ValueError, match="holds no bilm.*awd_lstm_tok2vec"):
        nlp.initialize()


def test_a_document_without_vectors_is_an_error_in_prediction(pipeline):
    nlp = pipeline()
    initialize(nlp)
    train(nlp, 1, Adam(0.01))
    with nlp.select_pipes(disable=["elmo_tok2vec"]):
        with pytest.raises(ValueError, match="no vectors of 'elmo_tok2vec'.*disabled"):
            nlp(TEXT)


def test_layers_can_be_taken_off_a_document(elmo):
    elmo.add_pipe("doc_cleaner", config={"attrs": {"tensor": None, "_.elmo": None}})
    doc = elmo(TEXT)
    assert doc._.elmo is None and not doc.user_data
    with pytest.raises(ValueError, match="only be set to None"):
        doc._.elmo = 1


def test_replaced_listeners_predict_the_same_and_can_be_saved(pipeline, tmp_path):
    nlp = pipeline()
    initialize(nlp)
    train(nlp, 5, Adam(0.05))
    expected = [token.tag_ for token in nlp(TEXT)]
    nlp.replace_listeners("elmo_tok2vec", "tagger", ["model.tok2vec"])
    nlp.remove_pipe("elmo_tok2vec")
    assert [token.tag_ for token in nlp(TEXT)] == expected
    nlp.to_disk(tmp_path)
    assert [token.tag_ for token in spacy.load(tmp_path)(TEXT)] == expected


def test_a_sourced_component_keeps_its_predictions(pipeline, tmp_path):
    nlp = pipeline()
    initialize(nlp)
    train(nlp, 5, Adam(0.05))
    expected = [token.tag_ for token in nlp(TEXT)]
    nlp.to_disk(tmp_path)
    source = {"source": str(tmp_path)}
    both = load({"elmo_tok2vec": source, "tagger": source})
    alone = load({"tagger": {**source, "replace_listeners": ["model.tok2vec"]}})
    for other in (both, alone):
        assert [token.tag_ for token in other(TEXT)] == expected


def test_two_encoders_keep_their_layers_apart(elmo, elmo_path, tmp_path):
    names = ["first", "second"]
    paths = [elmo_path, tmp_path / "copy"]
    elmo.to_disk(paths[1])
    nlp = load(
        {
            name: {"source": str(path), "component": "elmo_tok2vec"}
            for name, path in zip(names, paths)
        }
    )
    second = nlp.get_pipe("second").language_model
    with torch.no_grad():
        second.forward_layers[0].bias.add_(1.0)
    nlp.add_pipe("tagger", config={"model": tagger(listener("first"))["model"]})
    nlp.add_pipe("senter", config={"model": tagger(listener("second"))["model"]})
    assert [nlp.get_pipe(name).listening_components for name in names] == [
        ["tagger"],
        ["senter"],
    ]
    with nlp.select_pipes(disable=names):
        nlp.initialize(lambda: tagged(nlp))
    train(nlp, 2, Adam(0.01))
    doc = nlp(TEXT)
    layers = [doc.user_data[("spacy_elmo_ulmfit", "elmo", name)] for name in names]
    assert not numpy.allclose(layers[0], layers[1])


def test_elmo_beside_an_embedding_trains(elmo_path, tmp_path):
    embed = {
        "@architectures": "spacy-elmo-ulmfit.Concat.v1",
        "left": {
            "@architectures": "spacy.MultiHashEmbed.v2",
            "width": 8,
            "attrs": ["NORM", "SHAPE"],
            "rows": [50, 50],
            "include_static_vectors": False,
        },
        "right": listener(),
        "width": 8,
    }
    tok2vec = {
        "@architectures": "spacy.Tok2Vec.v2",
        "embed": embed,
        "encode": {
            "@architectures": "spacy.MaxoutWindowEncoder.v2",
            "width": 8,
            "depth": 1,
            "window_size": 1,
            "maxout_pieces": 2,
        },
    }
    nlp = load({"elmo_tok2vec": {"source": str(elmo_path)}, "tagger": tagger(tok2vec)})
    initialize(nlp)
    losses = train(nlp, 20, Adam(0.02))
    assert losses[-1]["tagger"] < losses[0]["tagger"] / 2
    expected = [token.tag_ for token in nlp(TEXT)]
    path = "model.tok2vec.embed.right"
    nlp.replace_listeners("elmo_tok2vec", "tagger", [path])
    nlp.to_disk(tmp_path)
    assert [token.tag_ for token in spacy.load(tmp_path)(TEXT)] == expected


def test_a_carried_state_is_never_served_from_the_cache(elmo_path):
    nlp = spacy.load(elmo_path)
    pipe = nlp.get_pipe("elmo_tok2vec")
    pipe.model.attrs["initial_state"] = "carry"
    doc = nlp.make_doc("Anna lives in Rome")
    first, second = (pipe.predict_cached([doc])[0] for _ in range(2))
    assert abs(first - second).max() > 1e-4
    pipe.reset_state()
    numpy.testing.assert_array_equal(pipe.predict_cached([doc])[0], first)
