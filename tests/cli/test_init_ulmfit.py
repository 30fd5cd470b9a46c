"""`python -m spacy init ulmfit` and `lm export --format fastai`, as users call them."""

import importlib
import io
import json
import pickle
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy
import pytest
import spacy
import torch
from numpy.testing import assert_allclose, assert_array_equal

from spacy_elmo_ulmfit.checkpoints import read_ulmfit
from spacy_elmo_ulmfit.text import DocTokenizer
from spacy_elmo_ulmfit.text.neutral import neutral_texts

from ..reference.awd_lstm_numpy import classify, read
from ..reference.commands import run
from ..reference.fastai_files import (
    MARKERS_V07,
    SPECIALS_V07,
    SPECIALS_V1,
    SPECIALS_V2,
    TEXT,
    Model,
    Sizes,
    State,
    encoder_state,
    multifit_description,
    multifit_state,
    pickled_l,
    random_model,
    salesforce_state,
    saved_as_of_old,
    saved_by_torch_03,
    v07_classifier,
    v07_state,
    v1_classifier,
    v1_state,
    v2_classifier,
    v2_state,
    vocabulary,
    without_biases,
)
from ..reference.files import saved, write_folder, write_tar, write_zip

V2_WORDS = vocabulary(SPECIALS_V2, n_fake=3)
V1_WORDS = vocabulary(SPECIALS_V1)
V07_WORDS = vocabulary([*SPECIALS_V07, *MARKERS_V07])
AWD_LSTM_LM_WORDS = vocabulary(["<unk>", "<eos>"])
QRNN = Sizes(qrnn=True, n_layers=4)
LABELS = ["neg", "pos", "neutral"]
CLASSIFIER = Sizes(n_labels=len(LABELS))
TEXTS = [
    "The river near ROME is wide. They drank tea in it!",
    "tea",
    "They saaaat on its bank and drank tea tea tea tea.\n\nNobody",
    "",
]

ToState = Callable[[Model], Any]


class Case(NamedTuple):
    """A file, and what must come out of it.

    state (Callable): From the numbers to what is saved.
    words (List[str]): The vocabulary, as fastai has it.
    form (str): The format that the command must find.
    tokens (str): The token rules that it must choose.
    bias (bool): Whether the file has a bias of the decoder that is not zero.
    save (Callable): From that to the file.
    """

    state: ToState
    words: List[str]
    form: str
    tokens: str
    sizes: Sizes = Sizes()
    bias: bool = True
    save: Callable[[Any], bytes] = saved

    @property
    def model(self) -> Model:
        return random_model(len(self.words), self.sizes, decoder_bias=self.bias)

    def write(self, folder):
        """Write weights and vocabulary side by side; return the weights file."""
        entries = {
            "lm.bin": self.save(self.state(self.model)),
            "itos.pkl": pickle.dumps(self.words, protocol=4),
        }
        return write_folder(folder, entries) / "lm.bin"

    def ids(self, words: Sequence[str]) -> List[int]:
        """Number words as fastai does: the last row of a word, never a filler."""
        rows = {w: i for i, w in enumerate(self.words) if w != "xxfake"}
        return [rows.get(word, 0) for word in words]


def wrapped(state: ToState) -> ToState:
    return lambda model: {"model": state(model), "opt": {"state": {}, "lr": [0.1]}}


def encoder(state: ToState) -> ToState:
    return lambda model: encoder_state(state(model))


def parallel(state: ToState) -> ToState:
    """Trained with torch's DataParallel around the model."""
    return lambda model: {f"module.{k}": v for k, v in state(model).items()}


def without_weight_dropout(model: Model) -> State:
    """The layers as they are: no module around them, and nothing is called raw."""
    state = v07_state(model)
    return {k.replace("module.", "").replace("_raw", ""): v for k, v in state.items()}


def later_multifit(model: Model) -> State:
    return multifit_state(model, linear="linear")


def half(state: ToState) -> ToState:
    return lambda model: {k: v.half() for k, v in state(model).items()}


V07 = (V07_WORDS, "fastai-v0.7", "v0.7")
V1 = (V1_WORDS, "fastai-v1", "v1")
V2 = (V2_WORDS, "fastai-v2", "v2")
AWD_LSTM_LM = (AWD_LSTM_LM_WORDS, "awd-lstm-lm", "words")
ONE_LAYER, TWO_LAYERS = Sizes(n_layers=1), Sizes(n_layers=2, n_hid=5)

LANGUAGE_MODELS = {
    "0.7": Case(v07_state, *V07, bias=False),
    "0.7 by torch 0.3": Case(v07_state, *V07, bias=False, save=saved_by_torch_03),
    "0.7's encoder": Case(encoder(v07_state), *V07, bias=False),
    "0.7 without weight dropout": Case(without_weight_dropout, *V07, bias=False),
    "v1": Case(v1_state, *V1),
    "v1 by an old torch": Case(v1_state, *V1, save=saved_as_of_old),
    "v1 with optimizer": Case(wrapped(v1_state), *V1),
    "v1's encoder": Case(encoder(v1_state), *V1, bias=False),
    "v2": Case(v2_state, *V2),
    "v2 by an old torch": Case(v2_state, *V2, save=saved_as_of_old),
    "v2, wrapped": Case(wrapped(v2_state), *V2),
    "v2's encoder": Case(encoder(v2_state), *V2, bias=False),
    "v2 in parallel": Case(parallel(v2_state), *V2),
    "v2 of one layer": Case(v2_state, *V2, sizes=ONE_LAYER),
    "v2 of two layers": Case(v2_state, *V2, sizes=TWO_LAYERS),
    # Early versions of v2 saved as v1 did: the vocabulary tells them apart.
    "v2 with v1's names": Case(v1_state, *V2),
    "MultiFiT's QRNN": Case(multifit_state, V1_WORDS, "multifit", "v1", sizes=QRNN),
    "MultiFiT's later QRNN": Case(
        later_multifit, V1_WORDS, "multifit", "v1", sizes=QRNN
    ),
    "MultiFiT's encoder": Case(
        encoder(multifit_state), V1_WORDS, "multifit", "v1", sizes=QRNN, bias=False
    ),
    "awd-lstm-lm": Case(salesforce_state, *AWD_LSTM_LM),
    "awd-lstm-lm's QRNN": Case(salesforce_state, *AWD_LSTM_LM, sizes=QRNN),
}


def init(*arguments, lang="en"):
    """Run the command; the output is the last argument that is no option."""
    output = arguments[1]
    printed = run("init", "ulmfit", lang, *arguments)
    return spacy.load(output), printed


@pytest.mark.parametrize("name", list(LANGUAGE_MODELS))
def test_every_layout_of_a_language_model(name, tmp_path):
    case = LANGUAGE_MODELS[name]
    nlp, printed = init(case.write(tmp_path / "in"), tmp_path / "out")
    assert nlp.pipe_names == ["awd_lstm_tok2vec"] and nlp.lang == "en"
    assert nlp.meta["language_model"]["awd_lstm_tok2vec"]["format"] == case.form
    assert case.form in printed
    assert (
        nlp.config["components"]["awd_lstm_tok2vec"]["model"]["tokens"] == case.tokens
    )
    assert_same_numbers(nlp, case)


def test_nothing_of_the_import_is_needed_once_it_is_done(tmp_path):
    case = LANGUAGE_MODELS["v1"]
    source = case.write(tmp_path / "in")
    run("init", "ulmfit", "en", source, tmp_path / "out")
    (tmp_path / "in").rename(tmp_path / "gone")
    nlp = spacy.load(tmp_path / "out")
    nlp.to_disk(tmp_path / "copy")
    assert_same_numbers(spacy.load(tmp_path / "copy"), case)


def assert_same_numbers(nlp, case):
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    for text, doc in zip(TEXTS, nlp.pipe(TEXTS, batch_size=3)):
        tokens = pipe.lm_tokens(doc)
        ids = case.ids(tokens.words)
        assert pipe.vocabulary.ids(tokens.words) == ids
        expected = read(case.model, ids)
        logits, _, _ = pipe.language_model.eval()(torch.tensor([ids]))
        assert_allclose(logits[0].detach(), expected.logits, atol=1e-5, err_msg=text)
        last = {owner: i for i, owner in enumerate(tokens.owners)}
        rows = [i for i in last if i >= 0 and not doc[i].is_space]
        places = [last[i] for i in rows]
        layers = doc._.awd_lstm.layers[:, rows]
        assert_allclose(layers[0], expected.embedded[places], atol=1e-6)
        assert_allclose(layers[1], expected.top[places], atol=1e-5, err_msg=text)


def test_half_precision_files_and_storage(tmp_path):
    case = Case(half(v2_state), *V2)
    source = case.write(tmp_path / "in")
    init(source, tmp_path / "half", "--storage", "float16")
    nlp, _ = init(source, tmp_path / "full")
    sizes = [
        (tmp_path / name / "awd_lstm_tok2vec" / "model.safetensors").stat().st_size
        for name in ("half", "full")
    ]
    assert sizes[0] < 0.8 * sizes[1]
    again = spacy.load(tmp_path / "half")
    # What was float16 in the file is the same in either.
    assert_array_equal(
        nlp(TEXTS[0])._.awd_lstm.layers, again(TEXTS[0])._.awd_lstm.layers
    )


def test_int8_storage(tmp_path):
    case = Case(v2_state, *V2, sizes=Sizes(emb_sz=48, n_hid=96))
    source = case.write(tmp_path / "in")
    full, _ = init(source, tmp_path / "full")
    small, _ = init(source, tmp_path / "small", "--storage", "int8")
    sizes = [
        (tmp_path / name / "awd_lstm_tok2vec" / "model.safetensors").stat().st_size
        for name in ("small", "full")
    ]
    assert sizes[0] < 0.35 * sizes[1]
    # Random weights saturate the layers above: the embedding is what can be compared.
    for text in filter(None, TEXTS):
        expected, found = (nlp(text)._.awd_lstm.layers[0] for nlp in (full, small))
        half_a_step = 0.501 / 127 * abs(expected).max(axis=1, keepdims=True)
        assert (abs(found - expected) <= half_a_step).all()
        assert not numpy.array_equal(found, expected)


# Classifiers ----------------------------------------------------------------------


def no_dropout_v1(model: Model) -> State:
    return v1_classifier(model, ps=(0.4, 0.0))


def no_dropout_v2(model: Model) -> State:
    return v2_classifier(model, ps=(0.0, 0.0))


CLASSIFIERS = {
    "0.7": Case(v07_classifier, *V07, sizes=CLASSIFIER),
    "v1": Case(v1_classifier, *V1, sizes=CLASSIFIER),
    "v1 without dropout": Case(no_dropout_v1, *V1, sizes=CLASSIFIER),
    "v2": Case(v2_classifier, *V2, sizes=CLASSIFIER),
    "v2, wrapped": Case(wrapped(v2_classifier), *V2, sizes=CLASSIFIER),
    "v2 without dropout": Case(no_dropout_v2, *V2, sizes=CLASSIFIER),
    "MultiFiT": Case(
        v1_classifier,
        V1_WORDS,
        "multifit",
        "v1",
        sizes=Sizes(qrnn=True, n_layers=4, n_labels=len(LABELS)),
    ),
}


@pytest.mark.parametrize(
    "name, multilabel", [*((name, False) for name in CLASSIFIERS), ("v2", True)]
)
def test_every_layout_of_a_classifier(name, multilabel, tmp_path):
    case = CLASSIFIERS[name]
    source = case.write(tmp_path / "in")
    more = ["--multilabel"] if multilabel else []
    output = tmp_path / "out"
    nlp, _ = init(source, output, "--labels", ",".join(LABELS), *more)
    factory = "ulmfit_textcat_multilabel" if multilabel else "ulmfit_textcat"
    assert nlp.pipe_names == [factory]
    pipe = nlp.get_pipe(factory)
    assert list(pipe.labels) == LABELS
    assert nlp.meta["language_model"][factory]["format"] == case.form
    model = without_biases(case.model) if case.form == "fastai-v2" else case.model
    for doc in nlp.pipe(TEXTS):
        logits = classify(model, case.ids(pipe.lm_tokens(doc).words))
        expected = 1 / (1 + numpy.exp(-logits))
        if not multilabel:
            expected = numpy.exp(logits) / numpy.exp(logits).sum()
        assert list(doc.cats) == LABELS
        assert_allclose(list(doc.cats.values()), expected, atol=1e-5)


def test_a_classifier_can_be_trained_on(tmp_path, textcat_corpus):
    """Its labels, encoder and head are where training goes on from."""
    case = Case(v2_classifier, *V2, sizes=Sizes(n_labels=2))
    nlp, _ = init(
        case.write(tmp_path / "in"), tmp_path / "out", "--labels", "food,travel"
    )
    examples = list(spacy.training.Corpus(textcat_corpus)(nlp))
    before = {name: p.clone() for name, p in parameters(nlp).items()}
    nlp.update(examples, sgd=nlp.resume_training())
    for name, parameter in parameters(nlp).items():
        assert not torch.equal(parameter, before[name]), name


def parameters(nlp):
    return dict(nlp.get_pipe("ulmfit_textcat").shim.module.named_parameters())


# Sources and vocabularies ---------------------------------------------------------


def as_l(words):
    return "itos.pkl", pickled_l(words)


def as_pickle(protocol):
    return lambda words: ("itos.pkl", pickle.dumps(words, protocol=protocol))


def as_list(words):
    return "vocab.json", json.dumps(words).encode()


def as_ids(words):
    return "vocab.json", json.dumps({word: i for i, word in enumerate(words)}).encode()


def as_lines(words):
    return "vocab.txt", "".join(f"{word}\n" for word in words).encode("utf-8")


def as_windows_lines(words):
    return "vocab.txt", "\r\n".join(words).encode("utf-8")


VOCABULARIES = [as_l, *map(as_pickle, range(6)), as_list, as_ids, as_lines]


@pytest.mark.parametrize("write", [*VOCABULARIES, as_windows_lines])
def test_every_kind_of_vocabulary(write, tmp_path):
    words = [*V1_WORDS, "日本", "na\u00efve", "\xa0", "\u2581"]
    name, data = write(words)
    weights = saved(v1_state(random_model(len(words))))
    entries = {"a.pth": weights, f"elsewhere/{name}": data}
    folder = write_folder(tmp_path / "in", entries)
    imported = read_ulmfit(folder / "a.pth", vocab=folder / "elsewhere" / name)
    assert imported.checkpoint.extra["vocabulary"]["words"] == words


def test_a_vocabulary_can_be_named(tmp_path):
    case = LANGUAGE_MODELS["v1"]
    source = case.write(tmp_path / "in")
    words = (tmp_path / "in" / "itos.pkl").rename(tmp_path / "my_words.pkl")
    nlp, _ = init(source, tmp_path / "out", "--vocab", words)
    assert_same_numbers(nlp, case)


def entries_of(case: Case, folder: str = "") -> Dict[str, bytes]:
    return {
        f"{folder}lstm.pth": saved(case.state(case.model)),
        f"{folder}itos_wt103.pkl": pickle.dumps(case.words),
    }


def as_folder(path, case):
    return write_folder(path / "models", entries_of(case))


def as_tgz(path, case):
    return write_tar(path / "wt103-1.tgz", entries_of(case, "wt103-1/"))


def as_zip(path, case):
    return write_zip(path / "wt103.zip", entries_of(case))


@pytest.mark.parametrize("write", [as_folder, as_tgz, as_zip])
def test_every_kind_of_source(write, tmp_path):
    case = LANGUAGE_MODELS["v1"]
    nlp, _ = init(write(tmp_path, case), tmp_path / "out")
    assert_same_numbers(nlp, case)


@pytest.fixture(scope="module")
def spm_model() -> bytes:
    """A SentencePiece model, trained as fastai v1 does it."""
    library = pytest.importorskip("sentencepiece")
    output = io.BytesIO()
    library.SentencePieceTrainer.train(
        sentence_iterator=iter([TEXT] * 20),
        model_writer=output,
        vocab_size=37,
        unk_id=len(SPECIALS_V1),
        **{f"{kind}_id": -1 for kind in ("pad", "bos", "eos")},
        user_defined_symbols=[f"\u2581{word}" for word in SPECIALS_V1],
        minloglevel=2,
    )
    return output.getvalue()


def pieces_of(model: bytes) -> List[str]:
    processor = importlib.import_module("sentencepiece").SentencePieceProcessor()
    processor.LoadFromSerializedProto(model)
    return [processor.id_to_piece(i) for i in range(len(processor))]


@pytest.mark.parametrize("write", [write_folder, write_tar])
def test_multifit_with_its_pieces(write, spm_model, tmp_path):
    """As its archives are: the words are the pieces of spm.model, in their order."""
    words = pieces_of(spm_model)
    case = Case(multifit_state, words, "multifit", "spm", sizes=QRNN)
    entries = {
        "de/lm_best.pth": saved(multifit_state(case.model)),
        "de/itos.pkl": pickle.dumps(words),
        "de/spm.model": spm_model,
        "de/pretraining.json": multifit_description(QRNN),
    }
    nlp, printed = init(write(tmp_path / "multifit.tgz", entries), tmp_path / "out")
    assert "multifit, tokens spm" in printed
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    assert pipe.vocabulary.unknown == "<unk>"
    ids = pipe.vocabulary.ids(pipe.lm_tokens(nlp.make_doc(TEXTS[0])).words)
    assert ids[0] == words.index("\u2581xxbos") and len(set(ids)) > 10
    logits, _, _ = pipe.language_model.eval()(torch.tensor([ids]))
    assert_allclose(logits[0].detach(), read(case.model, ids).logits, atol=1e-5)


def test_a_sentencepiece_model_that_does_not_fit(spm_model, tmp_path):
    words = [f"\u2581word{i}" for i in range(40)]
    words[:3] = ["\u2581xxunk", "\u2581xxpad", "<unk>"]
    sizes = Sizes(qrnn=True)
    state = encoder_state(multifit_state(random_model(len(words), sizes)))
    entries = {"enc.pth": saved(state), "itos.pkl": pickle.dumps(words)}
    for content in (spm_model, b"spam" * 100):
        source = write_folder(tmp_path / "in", {**entries, "spm.model": content})
        printed = run("init", "ulmfit", "de", source, tmp_path / "out", code=1)
        assert "SentencePiece" in printed and "spm.model" in printed
        assert not (tmp_path / "out").exists()


def test_of_multifits_files_the_whole_model_is_taken(tmp_path):
    case = LANGUAGE_MODELS["MultiFiT's QRNN"]
    sizes = case.sizes
    classifier = Case(
        v1_classifier,
        case.words,
        case.form,
        case.tokens,
        sizes=Sizes(qrnn=True, n_layers=sizes.n_layers, n_labels=2),
    )
    state = multifit_state(case.model)
    entries = {
        "lm_best.pth": saved(state),
        "enc_best.pth": saved(encoder_state(state)),
        "cls_best.pth": saved(v1_classifier(classifier.model)),
        "itos.pkl": pickle.dumps(case.words),
    }
    source = write_folder(tmp_path / "multifit_fp16", entries)
    nlp, _ = init(source, tmp_path / "lm")
    assert_same_numbers(nlp, case)
    nlp, _ = init(source, tmp_path / "cls", "--labels", "neg,pos")
    assert nlp.pipe_names == ["ulmfit_textcat"]


def test_qrnns_where_a_config_says_lstms(tmp_path):
    case = LANGUAGE_MODELS["awd-lstm-lm's QRNN"]
    init(case.write(tmp_path / "in"), tmp_path / "out")
    sizes = {"embedding_dim": 6, "hidden_dim": 9, "n_layers": 4}
    architecture = {"@architectures": "spacy-elmo-ulmfit.AWDLSTM.v1"}
    nlp = spacy.blank("en")
    nlp.add_pipe("awd_lstm_tok2vec", config={"model": {**architecture, **sizes}})
    settings = {"awd_lstm_tok2vec": {"path": str(tmp_path / "out")}}
    nlp.config["initialize"]["components"] = settings
    with pytest.raises(ValueError, match="rnn = lstm, but .* rnn = qrnn"):
        nlp.initialize()


def test_rows_that_are_never_read_get_names_of_their_own(tmp_path):
    """A word that comes twice has its last row, as in fastai, and there is a word about it."""
    words = [*V2_WORDS, "tea", "xxfake"]
    case = Case(v2_state, words, *V2[1:])
    nlp, printed = init(case.write(tmp_path / "in"), tmp_path / "out")
    found = nlp.get_pipe("awd_lstm_tok2vec").vocabulary.words
    assert found[words.index("tea")] == "xxfake_1" and found[-2:] == ["tea", "xxfake_5"]
    assert [w for w in found if w.startswith("xxfake")][-1] == "xxfake_5"
    assert "more than once (tea)" in printed
    assert_same_numbers(nlp, case)


# Direction ------------------------------------------------------------------------


def test_a_backward_model_reads_text_from_its_end(tmp_path):
    case = LANGUAGE_MODELS["v2"]
    source = case.write(tmp_path / "in")
    forward, _ = init(source, tmp_path / "fwd")
    backward, _ = init(source, tmp_path / "bwd", "--backward")
    assert_same_numbers(backward, case)
    words = [
        nlp.get_pipe("awd_lstm_tok2vec").lm_tokens(nlp.make_doc(TEXTS[0])).words
        for nlp in (forward, backward)
    ]
    assert words[0] == words[1][::-1] and words[0] != words[1]


@pytest.mark.parametrize(
    "name, more, told",
    [
        ("lstm_bwd.pth", [], True),
        ("lstm_fwd.pth", ["--backward"], True),
        ("lstm_bwd.pth", ["--backward"], False),
        ("lstm_fwd.pth", [], False),
    ],
)
def test_a_name_that_contradicts_the_direction_is_a_warning(name, more, told, tmp_path):
    source = LANGUAGE_MODELS["v2"].write(tmp_path / "in")
    _, printed = init(source.rename(source.with_name(name)), tmp_path / "out", *more)
    assert ("by its name" in printed) == told


@pytest.fixture(scope="module", params=["forward", "backward"])
def trained(request, tmp_path_factory):
    """A language model that learnt plain sentences by heart, and which way it reads."""
    docs = map(spacy.blank("en").make_doc, neutral_texts("en"))
    sentences = [DocTokenizer()(doc).words[1:] for doc in docs]
    words = list(dict.fromkeys([*SPECIALS_V2, *(w for s in sentences for w in s)]))
    rows = [[words.index(word) for word in sentence] for sentence in sentences]
    if request.param == "backward":
        rows = [row[::-1] for row in rows]
    model = random_model(len(words), Sizes(n_layers=1, emb_sz=24))
    state = v2_state(learn(model, rows))
    entries = {"lm.pth": saved(state), "itos.pkl": pickle.dumps(words)}
    return write_folder(tmp_path_factory.mktemp("trained"), entries), request.param


def learn(model: Model, rows: List[List[int]]) -> Model:
    """Fit a model of one layer to a few sentences, as plain torch does it."""
    lstm = torch.nn.LSTM(model.sizes.emb_sz, model.sizes.emb_sz, batch_first=True)
    embedding = torch.nn.Embedding(*model.embedding.shape)
    optimizer = torch.optim.Adam([*lstm.parameters(), *embedding.parameters()], 0.03)
    for _ in range(60):
        loss = torch.zeros(())
        for row in rows:
            ids = torch.tensor([row])
            outputs, _ = lstm(embedding(ids[:, :-1]))
            logits = outputs[0] @ embedding.weight.T
            loss = loss + torch.nn.functional.cross_entropy(logits, ids[0, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    names = {"ih": "weight_ih_l0", "hh": "weight_hh_l0"}
    names = {**names, "b_ih": "bias_ih_l0", "b_hh": "bias_hh_l0"}
    layer = {k: getattr(lstm, name).detach().numpy() for k, name in names.items()}
    return model._replace(
        embedding=embedding.weight.detach().numpy(),
        layers=[layer],
        bias=numpy.zeros_like(model.bias),
    )


def test_a_model_that_reads_the_other_way_is_refused(trained, tmp_path):
    """What it has learnt says which way it reads, whatever its name and the flag say."""
    source, direction = trained
    right, wrong = ["--backward"], []
    if direction == "forward":
        right, wrong = wrong, right
    output = tmp_path / "out"
    printed = run("init", "ulmfit", "en", source, output, *wrong, code=1)
    advice = "Give --backward" if direction == "backward" else "Leave out --backward"
    assert advice in printed and "perplexity" in printed
    assert not output.exists()
    init(source, output, *right)


def test_words_of_another_language_say_nothing_about_the_direction(trained, tmp_path):
    source, direction = trained
    wrong = [] if direction == "backward" else ["--backward"]
    init(source, tmp_path / "out", *wrong, lang="de")


# Warnings about matrices ----------------------------------------------------------


def test_a_dropout_copy_that_differs_is_a_warning(tmp_path):
    def state(model):
        changed = v2_state(model)
        changed["0.encoder_dp.emb.weight"][3] += 1.0
        return changed

    case = Case(state, *V2)
    nlp, printed = init(case.write(tmp_path / "in"), tmp_path / "out")
    assert "encoder_dp.emb.weight" in printed
    assert_same_numbers(nlp, case)


def test_a_decoder_of_its_own_is_left_out(tmp_path):
    def state(model):
        changed = v2_state(model)
        changed["1.decoder.weight"] = changed["1.decoder.weight"] + 1.0
        return changed

    case = Case(state, *V2)
    nlp, printed = init(case.write(tmp_path / "in"), tmp_path / "out")
    assert "1.decoder.weight" in printed
    # What predicts words now has no bias that belonged to another matrix.
    assert_same_numbers(nlp, case._replace(bias=False))


def test_tokens_can_be_chosen(tmp_path):
    source = LANGUAGE_MODELS["v1"].write(tmp_path / "in")
    nlp, _ = init(source, tmp_path / "out", "--tokens", "doc")
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    assert pipe.shim.tokenizer.kind == "doc"


# Export ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["v2", "v2 of one layer", "MultiFiT's QRNN", "0.7", "awd-lstm-lm"]
)
def test_an_exported_language_model_is_what_was_imported(name, tmp_path):
    case = LANGUAGE_MODELS[name]
    init(case.write(tmp_path / "in"), tmp_path / "out")
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "out", exported, "--format", "fastai")
    state = multifit_state if case.sizes.qrnn else v2_state
    expected = state(case.model)
    found = torch.load(exported / "model.pth", weights_only=True)
    assert_same_state(found, expected, case.sizes.qrnn)
    found = torch.load(exported / "encoder.pth", weights_only=True)
    assert_same_state(found, encoder_state(expected), case.sizes.qrnn)
    assert pickle.loads((exported / "vocab.pkl").read_bytes()) == case.words
    config = json.loads((exported / "config.json").read_text("utf-8"))
    sizes = config["config"]
    assert (sizes["emb_sz"], sizes["n_layers"]) == (
        case.sizes.emb_sz,
        case.sizes.n_layers,
    )
    if case.sizes.n_layers > 1:
        assert sizes["n_hid"] == case.sizes.n_hid
    assert config["backwards"] is False
    nlp, _ = init(exported, tmp_path / "again")
    pipe = nlp.get_pipe("awd_lstm_tok2vec")
    first = spacy.load(tmp_path / "out").get_pipe("awd_lstm_tok2vec")
    assert pipe.vocabulary.words == first.vocabulary.words
    assert_same_state(pipe.shim.module.state_dict(), first.shim.module.state_dict())


def assert_same_state(found, expected, is_qrnn=False):
    # Some of fastai's loaders go by the order alone.
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        if not (is_qrnn and name.endswith("linear.module.weight")):
            assert_array_equal(found[name], tensor, err_msg=name)


@pytest.mark.parametrize("name", ["v2", "v1", "0.7"])
def test_an_exported_classifier_gives_the_same_scores(name, tmp_path):
    """The format has no biases in the head: what they add is put elsewhere."""
    case = CLASSIFIERS[name]
    labels = ["--labels", ",".join(LABELS)]
    nlp, _ = init(case.write(tmp_path / "in"), tmp_path / "out", *labels)
    exported = tmp_path / "exported"
    run("lm", "export", tmp_path / "out", exported, "--format", "fastai")
    found = torch.load(exported / "model.pth", weights_only=True)
    expected = v2_classifier(case.model)
    assert list(found) == list(expected)
    if name == "v2":
        assert_same_state(found, expected)
    config = json.loads((exported / "config.json").read_text("utf-8"))
    assert config["labels"] == LABELS
    again, _ = init(exported, tmp_path / "again", *labels)
    for doc, other in zip(nlp.pipe(TEXTS), again.pipe(TEXTS)):
        assert_allclose(list(other.cats.values()), list(doc.cats.values()), atol=1e-5)


def test_an_exported_backward_model_says_so(tmp_path):
    source = LANGUAGE_MODELS["v2"].write(tmp_path / "in")
    init(source, tmp_path / "out", "--backward")
    run("lm", "export", tmp_path / "out", tmp_path / "exported", "--format", "fastai")
    config = json.loads((tmp_path / "exported" / "config.json").read_text("utf-8"))
    assert config["backwards"] is True


def test_a_bilm_is_no_awd_lstm(elmo_path, awd_lstm_path, tmp_path):
    exported = tmp_path / "exported"
    printed = run("lm", "export", elmo_path, exported, "--format", "fastai", code=1)
    assert "awd_lstm_tok2vec" in printed
    printed = run("lm", "export", awd_lstm_path, exported, "-f", "bilm-tf", code=1)
    assert "elmo_tok2vec" in printed
    assert not exported.exists()
