import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import load_model_from_config
from thinc.api import Adam, Config

from ..conftest import AWD_LSTM, CATS, create_language_model

MODEL = {
    "@architectures": "spacy-elmo-ulmfit.ULMFiTClassifier.v1",
    "embedding_dim": 8,
    "hidden_dim": 10,
    "n_layers": 2,
    "bptt": 5,
    "drop_mult": 0.0,
    "lr_decay": 100.0,
    "head_dropout": 0.0,
}
TEXT = "We took the night train to Rome."
# Between batches: of the LSTM's kernels, amplified by a head that was trained at a high
# rate. Up to 1e-5 in 60 trainings.
ROUNDING = 5e-5


def build(
    factory="ulmfit_textcat", encoder=None, initialize=None, component=None, **model
):
    settings = {**({"encoder": str(encoder)} if encoder else {}), **(initialize or {})}
    config = {
        "nlp": {"lang": "en", "pipeline": ["textcat"]},
        "components": {
            "textcat": {
                "factory": factory,
                "model": {**MODEL, **model},
                **(component or {}),
            }
        },
        "initialize": {"components": {"textcat": settings}},
    }
    return load_model_from_config(Config(config), auto_fill=True)


def examples(nlp):
    result = []
    for text, label in CATS:
        cats = {name: float(name == label) for name in ("food", "travel")}
        result.append(Example.from_dict(nlp.make_doc(text), {"cats": cats}))
    return result


@pytest.fixture
def trained(awd_lstm_path):
    nlp = build(encoder=awd_lstm_path)
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.005))
    for _ in range(40):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


def test_it_learns(trained):
    scores = trained.evaluate(examples(trained))
    assert scores["cats_micro_f"] == 1.0
    assert trained("a bowl of hot soup").cats.keys() == {"food", "travel"}


def test_exclusive_scores_sum_to_one(trained):
    assert sum(trained(TEXT).cats.values()) == pytest.approx(1.0, abs=1e-5)


def test_the_encoder_starts_from_the_language_model(awd_lstm, awd_lstm_path):
    nlp = build(encoder=awd_lstm_path)
    nlp.initialize(lambda: examples(nlp))
    pipe, source = nlp.get_pipe("textcat"), awd_lstm.get_pipe("awd_lstm_tok2vec")
    expected = source.language_model.state_dict()
    for name, value in pipe.language_model.state_dict().items():
        assert torch.equal(value, expected[name])
    assert pipe.vocabulary.words == source.vocabulary.words


def test_a_qrnn_encoder_learns_and_keeps_its_scores_on_disk(tmp_path):
    create_language_model(AWD_LSTM + 'rnn = "qrnn"\n').to_disk(tmp_path / "lm")
    nlp = build(encoder=tmp_path / "lm", rnn="qrnn")
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.01))
    for _ in range(40):
        nlp.update(examples(nlp), sgd=optimizer)
    assert nlp.evaluate(examples(nlp))["cats_micro_f"] == 1.0
    nlp.to_disk(tmp_path / "classifier")
    assert spacy.load(tmp_path / "classifier")(TEXT).cats == nlp(TEXT).cats


def test_an_encoder_with_other_layers_names_setting_and_values(awd_lstm_path):
    nlp = build(encoder=awd_lstm_path, rnn="qrnn")
    with pytest.raises(ValueError, match="rnn = qrnn, but .* rnn = lstm"):
        nlp.initialize(lambda: examples(nlp))


def test_without_encoder_the_words_are_those_of_the_examples():
    nlp = build()
    nlp.initialize(lambda: examples(nlp))
    words = nlp.get_pipe("textcat").vocabulary.words
    assert "soup" in words and "siemens" not in words


def test_scores_do_not_depend_on_the_batch(trained):
    texts = [TEXT, "tea", "", "a b c d e f g h i j k l m n", "\n"]
    alone = [trained(text).cats["food"] for text in texts]
    for batch_size in (1, 3, 5):
        docs = list(trained.pipe(reversed(texts), batch_size=batch_size))[::-1]
        assert_allclose([doc.cats["food"] for doc in docs], alone, atol=ROUNDING)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "a", "x" * 10_000])
def test_unusual_documents_get_scores(trained, text):
    assert numpy.isfinite(list(trained(text).cats.values())).all()


def test_a_long_document_works(trained):
    doc = Doc(trained.vocab, words=["tea", "train"] * 5_000)
    assert sum(trained(doc).cats.values()) == pytest.approx(1.0, abs=1e-5)


def test_disk_and_bytes_give_the_same_scores(trained, tmp_path):
    expected = trained(TEXT).cats
    trained.to_disk(tmp_path)
    assert (tmp_path / "textcat" / "model.safetensors").exists()
    from_disk = spacy.load(tmp_path)
    from_bytes = load_model_from_config(trained.config).from_bytes(trained.to_bytes())
    assert from_disk(TEXT).cats == expected
    assert from_bytes(TEXT).cats == expected


def test_half_precision_storage_halves_the_file(awd_lstm_path, tmp_path):
    sizes = []
    for storage in ("float32", "float16"):
        nlp = build(encoder=awd_lstm_path, storage=storage)
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        nlp.to_disk(tmp_path / storage)
        sizes.append((tmp_path / storage / "textcat" / "model.safetensors").stat())
        loaded = spacy.load(tmp_path / storage)
        assert_allclose(loaded(TEXT).cats["food"], nlp(TEXT).cats["food"], atol=1e-3)
    assert sizes[1].st_size < sizes[0].st_size


def test_several_labels_can_be_true(awd_lstm_path):
    nlp = build("ulmfit_textcat_multilabel", encoder=awd_lstm_path)
    golds = [
        ("tea at the station", {"food": 1.0, "travel": 1.0}),
        ("tea", {"food": 1.0, "travel": 0.0}),
        ("station", {"food": 0.0, "travel": 1.0}),
        ("weather", {"food": 0.0, "travel": 0.0}),
    ]
    data = [Example.from_dict(nlp.make_doc(t), {"cats": cats}) for t, cats in golds]
    optimizer = nlp.initialize(lambda: data, sgd=Adam(0.02))
    losses = [nlp.update(data, sgd=optimizer)["textcat"] for _ in range(100)]
    assert losses[-1] < losses[0] / 2
    for text, cats in golds:
        scores = nlp(text).cats
        assert {name: float(score > 0.5) for name, score in scores.items()} == cats


def test_the_loss_is_the_cross_entropy(trained):
    pipe = trained.get_pipe("textcat")
    data = examples(trained)
    scores = pipe.predict([example.predicted for example in data])
    loss, gradient = pipe.get_loss(data, scores)
    truths, _ = pipe._examples_to_truth(data)
    expected = -numpy.log((scores * truths).sum(axis=1)).mean()
    assert loss == pytest.approx(float(expected), rel=1e-5)
    assert_allclose(gradient, scores - truths)


def test_gradual_unfreezing_moves_frozen_groups_by_nothing(awd_lstm_path):
    from spacy_elmo_ulmfit.training.callbacks import create_gradual_unfreezing

    nlp = build(encoder=awd_lstm_path)
    optimizer = nlp.initialize(lambda: examples(nlp), sgd=Adam(0.01, L2=0.1))
    callback = create_gradual_unfreezing(epochs_per_group=2)
    module = nlp.get_pipe("textcat").shim.module
    moved = {}
    for epoch in range(8):
        before = {name: value.clone() for name, value in module.named_parameters()}
        callback(nlp, {"epoch": epoch, "step": epoch})
        nlp.update(examples(nlp), sgd=optimizer)
        moved[epoch] = {
            prefixes[0]
            for prefixes in module.layer_groups
            for name, value in module.named_parameters()
            if name.startswith(prefixes) and not torch.equal(value, before[name])
        }
    groups = [prefixes[0] for prefixes in module.layer_groups]
    assert moved[0] == moved[1] == {"head."}
    assert moved[2] == moved[3] == {"head.", groups[-2]}
    assert moved[7] == set(groups)


def test_averages_are_used_and_put_back(trained):
    optimizer = Adam(0.001, use_averages=True)
    for _ in range(3):
        trained.update(examples(trained), sgd=optimizer)
    current = trained(TEXT).cats["food"]
    with trained.use_params(optimizer.averages):
        averaged = trained(TEXT).cats["food"]
    assert averaged != current
    assert trained(TEXT).cats["food"] == current


def test_a_missing_encoder_is_named():
    nlp = build(encoder="no/such/pipeline")
    with pytest.raises(ValueError, match="no pipeline 'no/such/pipeline'"):
        nlp.initialize(lambda: examples(nlp))


def test_an_encoder_of_another_kind_is_refused(elmo_path):
    nlp = build(encoder=elmo_path)
    with pytest.raises(ValueError, match="holds no awd_lstm.*elmo_tok2vec.*a bilm"):
        nlp.initialize(lambda: examples(nlp))


def test_an_encoder_of_another_width_names_setting_and_values(awd_lstm_path):
    nlp = build(encoder=awd_lstm_path, hidden_dim=11)
    with pytest.raises(ValueError, match="hidden_dim = 11, but .* hidden_dim = 10"):
        nlp.initialize(lambda: examples(nlp))


def test_a_label_without_examples_is_named(awd_lstm_path):
    labels = {"labels": ["food", "travel", "sports"]}
    nlp = build(encoder=awd_lstm_path, initialize=labels)
    with pytest.raises(ValueError, match="label 'sports'.*food, travel"):
        nlp.initialize(lambda: examples(nlp))


def test_language_model_tokens_are_those_of_the_rules(trained):
    words, owners = trained.get_pipe("textcat").lm_tokens(trained.make_doc(TEXT))
    assert words[:4] == ["xxbos", "xxmaj", "we", "took"]
    assert owners[:4] == [-1, 0, 0, 1]


def test_processes_give_the_same_scores(trained):
    expected = trained(TEXT).cats
    for doc in trained.pipe([TEXT] * 4, n_process=2, batch_size=2):
        assert_allclose(list(doc.cats.values()), list(expected.values()), atol=ROUNDING)


def test_the_module_is_usable_without_spacy(trained):
    module = trained.get_pipe("textcat").language_model
    module.eval()
    logits, outputs, state = module(torch.tensor([[2, 3, 4]]))
    assert logits.shape == (1, 3, module.config.n_words)
    assert [output.shape[2] for output in outputs] == [10, 8]
    again, _, _ = module(torch.tensor([[4]]), state)
    assert_array_equal(again.shape, (1, 1, module.config.n_words))
