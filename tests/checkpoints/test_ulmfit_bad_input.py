"""Damaged, wrong and hostile AWD-LSTM files: one sentence each, and nothing written."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Sequence

import h5py
import numpy
import pytest
import torch

from spacy_elmo_ulmfit.checkpoints import read_ulmfit

from ..reference.commands import run
from ..reference.fastai_files import (
    SPECIALS_V2,
    Model,
    Sizes,
    State,
    foreign_class,
    multifit_description,
    multifit_state,
    random_model,
    salesforce_state,
    saved_as_of_old,
    v07_classifier,
    v07_state,
    v1_classifier,
    v1_state,
    v2_classifier,
    v2_state,
    vocabulary,
)
from ..reference.files import saved, write_folder, write_tar, write_zip
from .util import (
    HTML,
    LFS_POINTER,
    Bad,
    Bomb,
    Maker,
    check_command_refuses,
    check_refused,
    check_sentence,
    tree,
)

WORDS = vocabulary(SPECIALS_V2, n_fake=3)
WEIGHTS, VOCABULARY = "lstm.pth", "itos.pkl"
LM = Sizes()
QRNN = Sizes(qrnn=True)
CLASSIFIER = Sizes(n_labels=2)
LABELS = ("neg", "pos")
NOISE = bytes(range(256)) * 8


ToState = Callable[[Model], State]


def entries(
    state: ToState = v2_state, sizes: Sizes = LM, words: Sequence[str] = WORDS
) -> Dict[str, bytes]:
    """Return the files of a good model."""
    data = saved(state(random_model(len(words), sizes)))
    return {WEIGHTS: data, VOCABULARY: pickle.dumps(list(words))}


def changed(
    change: Callable[[State], Any],
    *words: str,
    state: ToState = v2_state,
    sizes: Sizes = LM,
) -> Maker:
    """With a change to the tensors, made in place."""

    def make(folder: Path) -> Bad:
        tensors = state(random_model(len(WORDS), sizes))
        change(tensors)
        write_folder(folder, {**entries(), WEIGHTS: saved(tensors)})
        options = {"labels": LABELS} if sizes.n_labels else {}
        return Bad(folder, [WEIGHTS, *words], options)

    return make


def without(*keys: str) -> Callable[[State], Any]:
    """Without the tensors whose names begin so."""

    def change(state: State) -> None:
        found = [name for name in state if name.startswith(keys)]
        assert found
        for name in found:
            del state[name]

    return change


def with_more(**tensors: torch.Tensor) -> Callable[[State], Any]:
    return lambda state: state.update(tensors)


def reshaped(key: str, change: Callable[[torch.Tensor], Any]) -> Callable[[State], Any]:
    return lambda state: state.update({key: change(state[key])})


def without_row(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[:-1].clone()


def without_column(tensor: torch.Tensor) -> torch.Tensor:
    return tensor[..., :-1].clone()


def flat(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.flatten()


def replaced(name: str, content: bytes, *words: str) -> Maker:
    """With other content in one of the files."""

    def make(folder: Path) -> Bad:
        write_folder(folder, {**entries(), name: content})
        return Bad(folder, [name, *words])

    return make


def cut(save: Callable[[Any], bytes], keep: Callable[[int], int]) -> Maker:
    data = save(v2_state(random_model(len(WORDS))))
    return replaced(WEIGHTS, data[: keep(len(data))])


def files(contents: Dict[str, bytes], *words: str, **options: Any) -> Maker:
    return lambda folder: Bad(write_folder(folder, contents), words, options)


# Tensors --------------------------------------------------------------------------

RNN = "0.rnns.1."
TENSOR_CASES = {
    "no layer in between": changed(without(RNN), "rnns.1"),
    "no first layer": changed(without("0.rnns.0."), "0.rnns.0"),
    "no layers": changed(without("0.rnns."), "AWD-LSTM"),
    "no embedding": changed(without("0.encoder.weight"), "encoder.weight"),
    "no raw matrix": changed(without(f"{RNN}weight_hh_l0_raw"), "weight_hh_l0"),
    "no input matrix": changed(without(f"{RNN}module.weight_ih"), "weight_ih_l0"),
    "no LSTM bias": changed(without(f"{RNN}module.bias_hh"), "bias_hh_l0"),
    "0.7 without a raw matrix": changed(
        without(f"{RNN}module.weight_hh"), "weight_hh_l0", state=v07_state
    ),
    "QRNN without a bias": changed(
        without(f"{RNN}layers.0.linear.module.bias"),
        "linear",
        "bias",
        state=multifit_state,
        sizes=QRNN,
    ),
    "flat embedding": changed(reshaped("0.encoder.weight", flat), "encoder.weight"),
    "narrow embedding": changed(reshaped("0.encoder.weight", without_column), "rnns.0"),
    "short raw matrix": changed(
        reshaped(f"{RNN}weight_hh_l0_raw", without_row), "weight_hh_l0_raw"
    ),
    "flat input matrix": changed(
        reshaped(f"{RNN}module.weight_ih_l0", flat), "weight_ih_l0"
    ),
    "short LSTM bias": changed(
        reshaped(f"{RNN}module.bias_ih_l0", without_row), "bias_ih_l0"
    ),
    "short first LSTM bias": changed(
        reshaped("0.rnns.0.module.bias_hh_l0", without_row), "rnns.0"
    ),
    "short decoder bias": changed(
        reshaped("1.decoder.bias", without_row), "1.decoder.bias"
    ),
    "narrow QRNN": changed(
        reshaped(f"{RNN}layers.0.linear.weight_raw", without_column),
        "linear.weight_raw",
        state=multifit_state,
        sizes=QRNN,
    ),
    "wide top layer": changed(without("0.rnns.2."), "rnns.1", "tied"),
    "layers of two kinds": changed(
        with_more(**{f"{RNN}linear.weight": torch.zeros(3, 3)}), "QRNN", "LSTM"
    ),
    "both directions": changed(
        with_more(**{f"{RNN}module.weight_ih_l0_reverse": torch.zeros(3)}),
        "reverse",
        "direction",
    ),
    "other tensors besides": changed(
        with_more(**{"0.attention.weight": torch.zeros(3)}), "0.attention.weight"
    ),
    "two encoders": changed(
        with_more(**{"2.encoder.weight": torch.zeros(3, 3)}), "2.encoder.weight"
    ),
    "a transformer": changed(
        lambda state: (
            without("0.rnns.")(state),
            state.update({"0.layers.0.mhra.attention.weight": torch.zeros(3)}),
        ),
        "AWD-LSTM",
    ),
    "not a state dict": replaced(WEIGHTS, saved([torch.zeros(3)]), "list"),
    "no tensors": replaced(WEIGHTS, saved({"model": {}}), "dict"),
}


# Heads ----------------------------------------------------------------------------


def of_classifier(
    change: Callable[[State], Any], *words: str, state: ToState = v2_classifier
) -> Maker:
    return changed(change, *words, state=state, sizes=CLASSIFIER)


def labelled(labels: Sequence[str], *words: str, sizes: Sizes = CLASSIFIER) -> Maker:
    state = v2_classifier if sizes.n_labels else v2_state
    return files(entries(state, sizes), *words, labels=labels)


def one_more_layer(state: State) -> None:
    state.update(
        {
            "1.layers.2.0.running_mean": torch.zeros(2),
            "1.layers.2.2.weight": torch.zeros(2, 2),
        }
    )


HEAD_CASES = {
    "no labels given": labelled((), WEIGHTS, "2 labels", "--labels"),
    "too few labels": labelled(("a",), WEIGHTS, "2 labels", "--labels"),
    "too many labels": labelled(("a", "b", "c"), WEIGHTS, "2 labels"),
    "a label twice": labelled(("a", "a"), "twice"),
    "labels of a language model": labelled(LABELS, WEIGHTS, "--labels", sizes=LM),
    "a deeper head": of_classifier(one_more_layer, "3 linear layers"),
    "half a head": of_classifier(without("1.layers.1."), "1 linear layer"),
    "no statistics": of_classifier(without("1.layers.1.0.running_mean"), "batch norm"),
    "no variance": of_classifier(without("1.layers.1.0.running_var"), "running_var"),
    "no last matrix": of_classifier(without("1.layers.1.2.weight"), "linear layer"),
    "v1 without a matrix": of_classifier(
        without("1.layers.6.weight"), "weight", state=v1_classifier
    ),
    "0.7 without a shift": of_classifier(
        without("1.layers.1.bn.bias"), "1.layers.1.bn.bias", state=v07_classifier
    ),
    "a narrow head": of_classifier(
        reshaped("1.layers.0.2.weight", without_column), "1.layers.0.2.weight"
    ),
    "a short norm": of_classifier(
        reshaped("1.layers.1.0.bias", without_row), "1.layers.1.0.bias"
    ),
}


# Files ----------------------------------------------------------------------------


def several_weights(folder: Path) -> Bad:
    data = entries()
    more = {"bwd_wt103.h5": data[WEIGHTS], "fwd_wt103.h5": data[WEIGHTS]}
    write_folder(folder, {**more, VOCABULARY: data[VOCABULARY]})
    return Bad(folder, ["bwd_wt103.h5", "SOURCE"])


def no_named_vocabulary(folder: Path) -> Bad:
    source = write_folder(folder, entries()) / WEIGHTS
    return Bad(source, ["other.pkl"], {"vocab": folder / "other.pkl"})


def an_hdf5_file(folder: Path) -> Bad:
    write_folder(folder, {VOCABULARY: entries()[VOCABULARY]})
    with h5py.File(folder / "lm.h5", "w") as file:
        file["weights"] = numpy.zeros(3)
    return Bad(folder / "lm.h5", ["lm.h5", "torch"])


def a_vocabulary_for_weights(folder: Path) -> Bad:
    write_folder(folder, entries())
    return Bad(folder / VOCABULARY, [VOCABULARY])


def described_as(sizes: Sizes, state: ToState, name: str, **arch: Any) -> Maker:
    description = multifit_description(sizes, **arch)
    contents = {**entries(state, sizes), name: description}
    return files(contents, name, WEIGHTS, "QRNN")


FILE_CASES = {
    "weights cut to nothing": cut(saved, lambda size: 0),
    "weights cut in the middle": cut(saved, lambda size: size // 2),
    "weights cut by one byte": cut(saved, lambda size: size - 1),
    "old weights cut in the middle": cut(saved_as_of_old, lambda size: size // 2),
    "old weights cut by one byte": cut(saved_as_of_old, lambda size: size - 1),
    "old weights cut in the header": cut(saved_as_of_old, lambda size: 20),
    "weights are an LFS pointer": replaced(WEIGHTS, LFS_POINTER, "LFS"),
    "weights are a web page": replaced(WEIGHTS, HTML, "HTML"),
    "weights are noise": replaced(WEIGHTS, NOISE),
    "weights are HDF5": an_hdf5_file,
    "weights are the vocabulary": a_vocabulary_for_weights,
    "no source": lambda folder: Bad(folder / "no.pth", ["no.pth"]),
    "an empty folder": files({}, "input", "pth"),
    "nothing usable": files({"sea.jpg": b"\xff\xd8"}, "sea.jpg"),
    "an exported learner alone": files({"export.pkl": NOISE}, "with_opt=False"),
    "several weights": several_weights,
    "no vocabulary": files({WEIGHTS: entries()[WEIGHTS]}, WEIGHTS, "--vocab"),
    "two vocabularies": files(
        {**entries(), "itos_2.pkl": entries()[VOCABULARY]}, VOCABULARY, "--vocab"
    ),
    "no named vocabulary": no_named_vocabulary,
    "a damaged zip": lambda folder: Bad(
        write_folder(folder, {"lm.zip": NOISE}) / "lm.zip", ["lm.zip"]
    ),
    "a damaged tgz": lambda folder: Bad(
        write_folder(folder, {"lm.tgz": NOISE}) / "lm.tgz", ["lm.tgz"]
    ),
    "QRNNs called LSTMs": described_as(
        QRNN, multifit_state, "pretraining.json", qrnn=False
    ),
    "LSTMs called QRNNs": described_as(LM, v1_state, "info.json", qrnn=True),
}


# Vocabularies ---------------------------------------------------------------------

PIECES = ["xxunk", "xxpad", "<unk>", *(f"\u2581{word}" for word in WORDS[3:])]


def vocab(value: Any, *words: str) -> Maker:
    return replaced(VOCABULARY, pickle.dumps(value), *words)


def other_vocabulary(name: str, content: bytes, *words: str) -> Maker:
    return files({WEIGHTS: entries()[WEIGHTS], name: content}, name, *words)


def numbered(first: int) -> bytes:
    return json.dumps(
        {w: n for n, w in enumerate(dict.fromkeys(WORDS), first)}
    ).encode()


VOCABULARY_CASES = {
    "short vocabulary": vocab(
        WORDS[:-1], WEIGHTS, f"{len(WORDS) - 1} words", "--vocab"
    ),
    "long vocabulary": vocab([*WORDS, "x"], WEIGHTS, f"{len(WORDS) + 1} words"),
    "empty vocabulary": vocab([], "0 words"),
    "no unknown word": vocab([f"w{i}" for i in range(len(WORDS))], "xxunk"),
    "numbers for words": vocab([*WORDS[:-1], 3], "int"),
    "no list": vocab("the sea", "str"),
    "ids that are no numbers": vocab({"the": "sea"}, "ids"),
    "vocabulary cut": replaced(VOCABULARY, pickle.dumps(WORDS)[:-20], "pickle"),
    "vocabulary is noise": replaced(VOCABULARY, NOISE, "pickle"),
    "vocabulary is an LFS pointer": replaced(VOCABULARY, LFS_POINTER, "LFS"),
    "vocabulary is a web page": replaced(VOCABULARY, HTML, "HTML"),
    "vocabulary is weights": replaced(VOCABULARY, entries()[WEIGHTS], "pickle"),
    "JSON cut": other_vocabulary("vocab.json", b'["xxunk", "xxp', "JSON"),
    "JSON of ids from 1": other_vocabulary("vocab.json", numbered(1), "ids"),
    "JSON of a number": other_vocabulary("vocab.json", b"3", "int"),
    "text that is not UTF-8": other_vocabulary("vocab.txt", b"a\n\xff\n", "UTF-8"),
    "pieces without their model": files(
        entries(words=PIECES), VOCABULARY, "SentencePiece", "spm.model"
    ),
    "token rules that need a model": files(entries(), "spm.model", tokens="spm"),
}


ALL: Dict[str, Maker] = {
    **TENSOR_CASES,
    **HEAD_CASES,
    **FILE_CASES,
    **VOCABULARY_CASES,
}


@pytest.mark.parametrize("name", list(ALL))
def test_bad_input_is_one_sentence(name, folder):
    check_refused(read_ulmfit, ALL[name](folder), folder)


# One of each kind: the command adds nothing but the exit code.
COMMAND_CASES = [
    "no layer in between",
    "short raw matrix",
    "other tensors besides",
    "no labels given",
    "too many labels",
    "labels of a language model",
    "weights cut in the middle",
    "weights are an LFS pointer",
    "no source",
    "several weights",
    "QRNNs called LSTMs",
    "short vocabulary",
    "pieces without their model",
    "token rules that need a model",
]


@pytest.mark.parametrize("name", COMMAND_CASES)
def test_the_command_prints_the_sentence_and_writes_nothing(name, folder, tmp_path):
    check_command_refuses("ulmfit", ALL[name](folder), tmp_path)


def test_what_only_the_command_can_say(folder, tmp_path):
    source, output = write_folder(folder, entries()), tmp_path / "out"
    start = ["init", "ulmfit"]
    printed = run(*start, "klingon", source, output, code=1)
    assert "klingon" in printed
    printed = run(*start, "en", source, output, "--multilabel", code=1)
    assert "--multilabel" in printed
    assert not output.exists()


def test_a_failed_import_leaves_an_older_one_alone(folder, tmp_path):
    good = write_folder(tmp_path / "good", entries())
    output = tmp_path / "out"
    run("init", "ulmfit", "en", good, output)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    bad = ALL["short vocabulary"](folder)
    run("init", "ulmfit", "en", bad.source, output, code=1)
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert after == before


# Objects of other programs ----------------------------------------------------------


def with_optimizer(model: State) -> Any:
    """As fastai v2's `learn.save` writes it unless told otherwise."""
    with foreign_class("fastcore.foundation", "L") as fastcore_list:
        hypers = fastcore_list(items=[{"lr": 0.1}])
        return saved({"model": model, "opt": {"state": [], "hypers": hypers}})


def exported_learner(model: State) -> Any:
    """As `learn.export` writes it."""
    with foreign_class("fastai.text.learner", "LMLearner") as learner:
        return saved(learner(model=model))


def model_object(model: State) -> Any:
    """As awd-lstm-lm's `model_save` writes it."""
    with foreign_class("model", "RNNModel") as rnn_model:
        return saved([rnn_model(state=model), None, None])


OBJECTS = {
    "optimizer": (with_optimizer, ["optimizer", "learn.save('NAME', with_opt=False)"]),
    "learner": (exported_learner, ["learner", "load_learner", "with_opt=False"]),
    "awd-lstm-lm": (model_object, ["awd-lstm-lm", ".state_dict()"]),
}


@pytest.mark.parametrize("name", list(OBJECTS))
def test_objects_of_other_programs_are_refused_with_a_recipe(name, folder, tmp_path):
    write, words = OBJECTS[name]
    content = write(salesforce_state(random_model(len(WORDS))))
    write_folder(folder, {**entries(), WEIGHTS: content})
    with pytest.raises(ValueError) as error:
        read_ulmfit(folder)
    check_sentence(str(error.value), [WEIGHTS, "refused", *words])
    run("init", "ulmfit", "en", folder, tmp_path / "out", code=1)
    assert not (tmp_path / "out").exists()


# Pickles that would run code ------------------------------------------------------


def bomb_in_state(target: Path) -> Dict[str, bytes]:
    state = v2_state(random_model(len(WORDS)))
    return {WEIGHTS: saved({**state, "extra": Bomb(target)})}


def old_bomb(target: Path) -> Dict[str, bytes]:
    return {WEIGHTS: saved_as_of_old({"model": Bomb(target)})}


def bomb_among_words(target: Path) -> Dict[str, bytes]:
    return {VOCABULARY: pickle.dumps([*WORDS[:-1], Bomb(target)])}


def bomb_for_words(target: Path) -> Dict[str, bytes]:
    return {VOCABULARY: pickle.dumps(Bomb(target), protocol=0)}


def bomb_by_extension(target: Path) -> Dict[str, bytes]:
    """A code of copyreg's registry, which stands for a name."""
    return {VOCABULARY: b"\x80\x02\x82\xfc(X\x01\x00\x00\x00atR."}


def bomb_elsewhere(target: Path) -> Dict[str, bytes]:
    """A persistent id, which the reading program has to make something of."""
    return {VOCABULARY: b"Pbomb\n."}


BOMBS = [bomb_in_state, old_bomb, bomb_among_words, bomb_for_words]
UNKNOWN_OBJECTS = [bomb_by_extension, bomb_elsewhere]


@pytest.mark.parametrize("make", [*BOMBS, *UNKNOWN_OBJECTS])
def test_nothing_in_a_pickle_is_run(make, folder, tmp_path):
    target = tmp_path / "exploded"
    content = make(target)
    write_folder(folder, {**entries(), **content})
    with pytest.raises(ValueError) as error:
        read_ulmfit(folder)
    check_sentence(str(error.value), list(content))
    run("init", "ulmfit", "en", folder, tmp_path / "out", code=1)
    assert not target.exists() and not (tmp_path / "out").exists()
    # The bomb is a real one.
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()


@pytest.mark.parametrize(
    "name", ["collections.OrderedDict", "builtins.getattr", "numpy.str_"]
)
def test_no_name_in_a_vocabulary_is_looked_up(name, folder):
    """Not even harmless ones: the list of what is allowed is one name long."""
    module, attribute = name.split(".")
    data = b"\x80\x02c" + f"{module}\n{attribute}\n".encode() + b"."
    write_folder(folder, {**entries(), VOCABULARY: data})
    with pytest.raises(ValueError, match=name):
        read_ulmfit(folder)


def test_a_list_of_fastcore_is_nothing_but_a_list(folder):
    """Whatever a pickle does to that class, the next file does not see it."""
    poison = b"\x80\x02cfastcore.foundation\nL\n}X\x05\x00\x00\x00items]X\x01\x00\x00\x00asb."
    write_folder(folder, {**entries(), VOCABULARY: poison})
    with pytest.raises(ValueError, match=VOCABULARY):
        read_ulmfit(folder)


# Archives that reach out of themselves --------------------------------------------


def zip_with(name: str) -> Maker:
    def make(folder: Path) -> Bad:
        content = {**entries(), name.format(folder): b"evil"}
        return Bad(write_zip(folder / "lm.zip", content), ["lm.zip", "evil"])

    return make


def tar_with(name: str) -> Maker:
    def make(folder: Path) -> Bad:
        content = {**entries(), name.format(folder): b"evil"}
        return Bad(write_tar(folder / "lm.tgz", content), ["lm.tgz", "evil"])

    return make


def linked_weights(folder: Path) -> Bad:
    path = folder / "lm.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo(WEIGHTS)
        link.type, link.linkname = tarfile.SYMTYPE, str(folder / "secret")
        archive.addfile(link)
        member = tarfile.TarInfo(VOCABULARY)
        member.size = len(entries()[VOCABULARY])
        archive.addfile(member, io.BytesIO(entries()[VOCABULARY]))
    return Bad(path, ["lm.tgz", WEIGHTS])


HOSTILE = {
    "zip to a parent": zip_with("../../evil"),
    "zip to an absolute path": zip_with("{}/outside/evil"),
    "tgz to a parent": tar_with("models/../../evil"),
    "tgz to an absolute path": tar_with("{}/outside/evil"),
    "tgz whose weights are a link": linked_weights,
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_archives_cannot_reach_out_of_themselves(name, folder, tmp_path):
    (folder / "secret").write_bytes(entries()[WEIGHTS])
    bad = HOSTILE[name](folder)
    before = tree(tmp_path)
    with pytest.raises(ValueError) as error:
        read_ulmfit(bad.source)
    check_sentence(str(error.value), bad.words)
    run("init", "ulmfit", "en", bad.source, tmp_path / "out", code=1)
    assert tree(tmp_path) == before
