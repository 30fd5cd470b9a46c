"""Damaged, wrong and hostile files: one sentence each, and nothing else happens."""

import io
import json
import pickle
import tarfile
from pathlib import Path
from typing import Any, Callable, Dict, Optional

import numpy
import pytest
import torch

from spacy_elmo_ulmfit.checkpoints import read_elmo

from ..reference.commands import run
from ..reference.fastai_files import saved_as_of_old
from ..reference.files import (
    MANY_LANGS_CONFIG,
    Sizes,
    allennlp_entries,
    nlpl_entries,
    read_hdf5,
    saved,
    write_bilm_files,
    write_folder,
    write_hdf5,
    write_many_langs,
    write_tar,
    write_token_embeddings,
    write_vocab,
    write_word_input,
    write_zip,
)
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

PUBLISHED_NAME = "elmo_2x1024_128_2048cnn_1xhighway_"
CELL = "RNN_1/RNN/MultiRNNCell/Cell1/LSTMCell"


# HDF5 -----------------------------------------------------------------------------


def cut(keep: Callable[[int], int]) -> Maker:
    def make(folder: Path) -> Bad:
        path = write_bilm_files(folder).weights
        data = path.read_bytes()
        path.write_bytes(data[: keep(len(data))])
        return Bad(folder, [path.name])

    return make


def missing(*names: str) -> Maker:
    """Without the datasets whose names begin so."""

    def make(folder: Path) -> Bad:
        path = write_bilm_files(folder).weights
        kept = {n: a for n, a in read_hdf5(path).items() if not n.startswith(names)}
        write_hdf5(path, kept)
        return Bad(folder, [path.name, names[0]])

    return make


def reshaped(name: str, change: Callable[[Any], Any]) -> Maker:
    def make(folder: Path) -> Bad:
        path = write_bilm_files(folder).weights
        arrays = read_hdf5(path)
        write_hdf5(path, {**arrays, name: change(arrays[name])})
        return Bad(folder, [path.name, name])

    return make


def without_last_row(array: Any) -> Any:
    return array[:-1]


def without_last_column(array: Any) -> Any:
    return array[..., :-1]


def flat(array: Any) -> Any:
    return array.reshape(-1)


def nothing_in_it(folder: Path) -> Bad:
    path = write_hdf5(write_bilm_files(folder).weights, {})
    return Bad(folder, [path.name])


def a_group_for_a_dataset(folder: Path) -> Bad:
    path = write_bilm_files(folder).weights
    arrays = read_hdf5(path)
    rows = arrays.pop("char_embed")
    write_hdf5(path, {**arrays, "char_embed/rows": rows})
    return Bad(folder, [path.name, "char_embed"])


def text_for_numbers(folder: Path) -> Bad:
    path = write_bilm_files(folder).weights
    arrays = read_hdf5(path)
    text = numpy.full(arrays[f"{CELL}/B"].shape, b"x", dtype="S1")
    write_hdf5(path, {**arrays, f"{CELL}/B": text})
    return Bad(folder, [path.name, f"{CELL}/B"])


HDF5_CASES = {
    "cut to nothing": cut(lambda size: 0),
    "cut in the signature": cut(lambda size: 5),
    "cut after the signature": cut(lambda size: 8),
    "cut in the header": cut(lambda size: 100),
    "cut in the middle": cut(lambda size: size // 2),
    "cut by one byte": cut(lambda size: size - 1),
    "no datasets": nothing_in_it,
    "no char_embed": missing("char_embed"),
    "no filter": missing("CNN/W_cnn_1"),
    "no filter bias": missing("CNN/b_cnn_0"),
    "no filters": missing("CNN/"),
    "no gate": missing("CNN_high_0/W_carry"),
    "no highway bias": missing("CNN_high_0/b_transform"),
    "no highway": missing("CNN_high_0"),
    "no projection": missing("CNN_proj"),
    "no projection bias": missing("CNN_proj/b_proj"),
    "no LSTM weight": missing(f"{CELL}/W_0"),
    "no LSTM bias": missing(f"{CELL}/B"),
    "no LSTM projection": missing(f"{CELL}/W_P_0"),
    "no upper layer": missing(CELL),
    "no upper layers": missing(CELL.replace("RNN_1", "RNN_0"), CELL),
    "no LSTMs": missing("RNN_"),
    "short char_embed": reshaped("char_embed", without_last_row),
    "narrow char_embed": reshaped("char_embed", without_last_column),
    "narrow filter": reshaped("CNN/W_cnn_1", without_last_column),
    "flat filter": reshaped("CNN/W_cnn_1", flat),
    "short filter bias": reshaped("CNN/b_cnn_2", without_last_row),
    "short gate": reshaped("CNN_high_0/W_carry", without_last_row),
    "short highway bias": reshaped("CNN_high_0/b_carry", without_last_row),
    "turned projection": reshaped("CNN_proj/W_proj", numpy.transpose),
    "short projection bias": reshaped("CNN_proj/b_proj", without_last_row),
    "short LSTM weight": reshaped(f"{CELL}/W_0", without_last_row),
    "turned LSTM weight": reshaped(f"{CELL}/W_0", numpy.transpose),
    "short LSTM bias": reshaped(f"{CELL}/B", without_last_row),
    "turned LSTM projection": reshaped(f"{CELL}/W_P_0", numpy.transpose),
    "group for a dataset": a_group_for_a_dataset,
    "text for numbers": text_for_numbers,
}


# options.json ---------------------------------------------------------------------


def changed(key: str, *value: Any) -> Maker:
    """With another value at a dotted key, or without the key."""

    def make(folder: Path) -> Bad:
        path = write_bilm_files(folder).options
        options = inner = json.loads(path.read_text("utf-8"))
        *parents, last = key.split(".")
        for parent in parents:
            inner = inner[parent]
        if value:
            inner[last] = value[0]
        else:
            del inner[last]
        path.write_text(json.dumps(options), "utf-8")
        return Bad(folder, [path.name, "" if key == "char_cnn" else last])

    return make


def contradicting(key: str, value: Any) -> Maker:
    """With a value that is well formed, but not that of the arrays.

    Which of the two files is wrong nobody can tell: the message names the weights.
    """

    def make(folder: Path) -> Bad:
        changed(key, value)(folder)
        return Bad(folder, ["weights.hdf5", "options.json"])

    return make


def options_are(content: bytes, *words: str) -> Maker:
    def make(folder: Path) -> Bad:
        path = write_bilm_files(folder).options
        path.write_bytes(content)
        return Bad(folder, [path.name, *words])

    return make


REQUIRED = [
    "lstm",
    "lstm.dim",
    "lstm.projection_dim",
    "char_cnn.filters",
    "char_cnn.embedding",
    "char_cnn.embedding.dim",
    "char_cnn.max_characters_per_token",
    "char_cnn.activation",
]
WRONG = {
    "lstm": [1, 2],
    "lstm.dim": "big",
    "lstm.projection_dim": -5,
    "lstm.n_layers": 0,
    "lstm.cell_clip": "three",
    "char_cnn": "yes",
    "char_cnn.filters": [[1, 2, 3]],
    "char_cnn.activation": "gelu",
    "char_cnn.max_characters_per_token": 3,
    "char_cnn.n_characters": 100,
}
CONTRADICTIONS = {
    "lstm.dim": 8,
    "lstm.projection_dim": 6,
    "lstm.n_layers": 3,
    "char_cnn.embedding.dim": 4,
    "char_cnn.n_highway": 2,
    "char_cnn.filters": [[1, 3], [2, 4], [3, 5]],
}
# Here the arrays hold more than the options say: also not one model.
CONTRADICTIONS_BY_MORE = {
    "fewer layers": ("lstm.n_layers", 1),
    "fewer highways": ("char_cnn.n_highway", 0),
    "fewer filters": ("char_cnn.filters", [[1, 3], [2, 4]]),
}
OPTIONS_CASES = {
    **{f"no {key}": changed(key) for key in [*REQUIRED, "char_cnn"]},
    **{f"{key} = {value}": changed(key, value) for key, value in WRONG.items()},
    **{f"{k} is not {v}": contradicting(k, v) for k, v in CONTRADICTIONS.items()},
    **{name: contradicting(*pair) for name, pair in CONTRADICTIONS_BY_MORE.items()},
    "options are no JSON": options_are(b'{"lstm": {"dim": 7,', "JSON"),
    "options are empty": options_are(b"", "JSON"),
    "options are a list": options_are(b"[1, 2]"),
    "options are binary": options_are(bytes(range(256))),
    "options are an LFS pointer": options_are(LFS_POINTER, "LFS"),
    "options are a web page": options_are(HTML, "HTML"),
}


# Files of another kind ------------------------------------------------------------


def replaced(
    write: Callable[[Path], Path], name: Optional[str], content: bytes, *words: str
) -> Maker:
    """With other content in one file of a layout, or in the only file."""

    def make(folder: Path) -> Bad:
        source = write(folder)
        path = source / name if name else source
        path.write_bytes(content)
        return Bad(source, [path.name, *words])

    return make


def hdf5_folder(folder: Path) -> Path:
    write_bilm_files(folder)
    return folder


def nlpl_zip(folder: Path) -> Path:
    return write_zip(folder / "999.zip", nlpl_entries())


def nlpl_folder(folder: Path) -> Path:
    return write_folder(folder, nlpl_entries())


def allennlp_tar(folder: Path) -> Path:
    return write_tar(folder / "model.tar.gz", allennlp_entries())


def allennlp_folder(folder: Path) -> Path:
    return write_folder(folder, allennlp_entries())


def word_folder(folder: Path) -> Path:
    write_word_input(folder, ["the", "sea"])
    return folder


PLACES = {
    "HDF5": (hdf5_folder, "weights.hdf5"),
    "NLPL's HDF5": (nlpl_folder, "model.hdf5"),
    "zip": (nlpl_zip, None),
    "tar": (allennlp_tar, None),
    "AllenNLP's weights": (allennlp_folder, "weights.th"),
    "AllenNLP's config": (allennlp_folder, "config.json"),
    "tokens": (write_many_langs, "token_embedder.pkl"),
    "encoder": (write_many_langs, "encoder.pkl"),
    "char.dic": (write_many_langs, "char.dic"),
    "word.dic": (write_many_langs, "word.dic"),
    "config of the network": (write_many_langs, MANY_LANGS_CONFIG),
}
CONTENTS = {
    "empty": (b"", ""),
    "an LFS pointer": (LFS_POINTER, "LFS"),
    "a web page": (HTML, "HTML"),
    "noise": (bytes(range(256)) * 8, ""),
}
REPLACED_CASES = {
    f"{place} is {content}": replaced(*PLACES[place], *CONTENTS[content])
    for place in PLACES
    for content in CONTENTS
}


# What is not there ----------------------------------------------------------------


def without(write: Callable[[Path], Path], name: str, *words: str) -> Maker:
    def make(folder: Path) -> Bad:
        source = write(folder)
        (source / name).unlink()
        return Bad(source, words or [name])

    return make


def without_entry(entries: Dict[str, bytes], name: str, *words: str) -> Maker:
    """An archive that lacks a file."""

    def make(folder: Path) -> Bad:
        kept = {key: data for key, data in entries.items() if key != name}
        return Bad(write_zip(folder / "999.zip", kept), ["999.zip", *words])

    return make


def nothing_usable(folder: Path) -> Bad:
    source = folder / "holiday"
    write_folder(source, {"notes.txt": b"sun\n", "sea.jpg": b"\xff\xd8\xff"})
    return Bad(source, ["holiday"])


def an_empty_folder(folder: Path) -> Bad:
    source = folder / "holiday"
    source.mkdir()
    return Bad(source, ["holiday"])


def no_source(folder: Path) -> Bad:
    return Bad(folder / "nowhere.zip", ["nowhere.zip"])


def no_named_weights(folder: Path) -> Bad:
    files = write_bilm_files(folder)
    weights = folder / "other.hdf5"
    return Bad(files.options, ["other.hdf5"], {"weights": weights})


def no_named_options(folder: Path) -> Bad:
    files = write_bilm_files(folder)
    options = folder / "other.json"
    return Bad(files.weights, ["other.json"], {"options": options})


def weights_alone(folder: Path) -> Bad:
    files = write_bilm_files(folder)
    files.options.unlink()
    return Bad(files.weights, [files.weights.name, "--options"])


def options_alone(folder: Path) -> Bad:
    files = write_bilm_files(folder)
    files.weights.unlink()
    return Bad(files.options, [files.options.name, "--weights"])


def a_state_dict_alone(folder: Path) -> Bad:
    entries = allennlp_entries(weights="best.th")
    source = write_folder(folder, {"best.th": entries["best.th"]}) / "best.th"
    return Bad(source, ["best.th", "--options"])


def no_named_vocab(folder: Path) -> Bad:
    source = word_folder(folder)
    return Bad(source, ["other.txt"], {"vocab": folder / "other.txt"})


def several_models(folder: Path) -> Bad:
    write_bilm_files(folder, prefix="one_")
    write_bilm_files(folder, prefix="two_")
    return Bad(folder, [folder.name, "--weights"])


def an_image(folder: Path) -> Bad:
    source = write_folder(folder, {"sea.jpg": b"\xff\xd8\xff\xe0" * 9}) / "sea.jpg"
    return Bad(source, ["sea.jpg"])


MISSING_CASES = {
    "nothing usable in a folder": nothing_usable,
    "an empty folder": an_empty_folder,
    "no source": no_source,
    "no named weights": no_named_weights,
    "no named options": no_named_options,
    "no named vocabulary": no_named_vocab,
    "weights alone": weights_alone,
    "options alone": options_alone,
    "a state dict alone": a_state_dict_alone,
    "several models in a folder": several_models,
    "an image": an_image,
    "a folder without weights": without(hdf5_folder, "weights.hdf5", "input"),
    "a folder without options": without(hdf5_folder, "options.json", "options.json"),
    "word input without vocabulary": without(word_folder, "vocab.txt", "--vocab"),
    "AllenNLP's without weights": without(allennlp_folder, "weights.th", "input"),
    "AllenNLP's without options": without(
        allennlp_folder, "options.json", "input", "--options"
    ),
    "no char.dic": without(write_many_langs, "char.dic"),
    "no word.dic": without(write_many_langs, "word.dic"),
    "no encoder": without(write_many_langs, "encoder.pkl"),
    "no tokens": without(write_many_langs, "token_embedder.pkl"),
    "a zip without weights": without_entry(nlpl_entries(), "model.hdf5"),
    "a zip without options": without_entry(nlpl_entries(), "options.json"),
    "an empty zip": without_entry({}, ""),
}


# Files that agree with nothing ----------------------------------------------------


def vocab_is(content: bytes, *words: str) -> Maker:
    return replaced(word_folder, "vocab.txt", content, *words)


def dictionary_is(name: str, content: bytes, *words: str) -> Maker:
    return replaced(write_many_langs, name, content, *words)


def state_without(name: str, key: str) -> Maker:
    """A state dict of ELMoForManyLangs that lacks a tensor."""

    def make(folder: Path) -> Bad:
        path = write_many_langs(folder) / name
        state = torch.load(path, weights_only=True)
        del state[key]
        torch.save(state, path)
        return Bad(folder, [name, key])

    return make


def allennlp_without(key: str) -> Maker:
    def make(folder: Path) -> Bad:
        path = allennlp_folder(folder) / "weights.th"
        state = torch.load(path, weights_only=True)
        torch.save({n: t for n, t in state.items() if not n.endswith(key)}, path)
        return Bad(folder, ["weights.th", key])

    return make


def allennlp_with_other_shape(key: str) -> Maker:
    def make(folder: Path) -> Bad:
        path = allennlp_folder(folder) / "weights.th"
        state = torch.load(path, weights_only=True)
        name = next(name for name in state if name.endswith(key))
        torch.save({**state, name: state[name][:-1].clone()}, path)
        return Bad(folder, ["weights.th", key])

    return make


def no_elmo_inside(folder: Path) -> Bad:
    path = allennlp_folder(folder) / "weights.th"
    torch.save({"encoder._module.weight_ih_l0": torch.zeros(4, 3)}, path)
    return Bad(folder, ["weights.th"])


def not_a_state_dict(folder: Path) -> Bad:
    path = allennlp_folder(folder) / "weights.th"
    torch.save([torch.zeros(3)], path)
    return Bad(folder, ["weights.th"])


def no_skip_connections(folder: Path) -> Bad:
    """AllenNLP's modules always have them: these options are another model's."""
    source = write_folder(folder, allennlp_entries(Sizes(residual=False)))
    return Bad(source, ["options.json", "use_skip_connections"])


def network_config(section: str, key: str, value: Any, *words: str) -> Maker:
    def make(folder: Path) -> Bad:
        path = write_many_langs(folder) / MANY_LANGS_CONFIG
        config = json.loads(path.read_text("utf-8"))
        config[section][key] = value
        path.write_text(json.dumps(config), "utf-8")
        return Bad(folder, words)

    return make


CONTENT_CASES = {
    "short vocabulary": vocab_is(b"<S>\n</S>\n<UNK>\nthe\n"),
    "long vocabulary": vocab_is(b"<S>\n</S>\n<UNK>\nthe\nsea\nis\n"),
    "vocabulary without unknown": vocab_is(b"<S>\n</S>\na\nb\nc\n", "<UNK>"),
    "vocabulary without boundaries": vocab_is(b"a\nb\n<UNK>\nc\nd\n", "<S>"),
    "vocabulary is not UTF-8": vocab_is(b"<S>\n</S>\n<UNK>\n\xff\nb\n", "UTF-8"),
    "vocabulary is an LFS pointer": vocab_is(LFS_POINTER, "LFS"),
    "char.dic without ids": dictionary_is("char.dic", b"a\nb\n"),
    "char.dic without markers": dictionary_is("char.dic", b"a\t0\nb\t1\n", "<bow>"),
    "char.dic with large ids": dictionary_is(
        "char.dic",
        "".join(
            f"{token}\t{900 + number}\n"
            for number, token in enumerate(
                ("<bos>", "<eos>", "<oov>", "<pad>", "<bow>", "<eow>", "a")
            )
        ).encode(),
    ),
    "word.dic with large ids": dictionary_is("word.dic", b"<oov>\t0\nthe\t99\n"),
    "word.dic with negative ids": dictionary_is("word.dic", b"<oov>\t0\nthe\t-2\n"),
    "encoder lacks a tensor": state_without(
        "encoder.pkl", "backward_layer_1.state_projection.weight"
    ),
    "tokens lack a tensor": state_without("token_embedder.pkl", "convolutions.1.bias"),
    "tokens lack the projection": state_without(
        "token_embedder.pkl", "projection.weight"
    ),
    "AllenNLP's lacks a tensor": allennlp_without("char_conv_1.bias"),
    "AllenNLP's lacks an LSTM": allennlp_without(
        "backward_layer_1.input_linearity.weight"
    ),
    "AllenNLP's of wrong shape": allennlp_with_other_shape(
        "forward_layer_0.state_projection.weight"
    ),
    "AllenNLP's without ELMo": no_elmo_inside,
    "AllenNLP's is a list": not_a_state_dict,
    "AllenNLP's without skip connections": no_skip_connections,
    "network of another kind": network_config("encoder", "name", "lstm", "lstm"),
    "tokens of another kind": network_config("token_embedder", "name", "lstm", "lstm"),
    "network of another width": network_config(
        "encoder", "projection_dim", 6, MANY_LANGS_CONFIG
    ),
    "words of another width": network_config(
        "token_embedder", "word_dim", 0, MANY_LANGS_CONFIG
    ),
}


ALL = {
    **HDF5_CASES,
    **OPTIONS_CASES,
    **REPLACED_CASES,
    **MISSING_CASES,
    **CONTENT_CASES,
}
assert len(ALL) == sum(
    map(len, [HDF5_CASES, OPTIONS_CASES, REPLACED_CASES, MISSING_CASES, CONTENT_CASES])
)


@pytest.mark.parametrize("name", list(ALL))
def test_bad_input_is_one_sentence(name, folder):
    check_refused(read_elmo, ALL[name](folder), folder)


# One of each kind: the command adds nothing but the exit code.
COMMAND_CASES = [
    "cut in the middle",
    "no LSTM weight",
    "turned projection",
    "lstm.dim is not 8",
    "options are no JSON",
    "no lstm.projection_dim",
    "HDF5 is an LFS pointer",
    "zip is a web page",
    "tokens is noise",
    "tar is empty",
    "an empty folder",
    "no source",
    "no named weights",
    "weights alone",
    "word input without vocabulary",
    "AllenNLP's without ELMo",
    "word.dic with large ids",
]


@pytest.mark.parametrize("name", COMMAND_CASES)
def test_the_command_prints_the_sentence_and_writes_nothing(name, folder, tmp_path):
    check_command_refuses("elmo", ALL[name](folder), tmp_path)


def test_a_failed_import_leaves_an_older_one_alone(folder, tmp_path):
    good = write_bilm_files(tmp_path / "good")
    output = tmp_path / "out"
    run("init", "elmo", "en", good.options, output, "--weights", good.weights)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    bad = ALL["cut in the middle"](folder)
    run("init", "elmo", "en", bad.source, output, code=1)
    after = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    assert after == before


# Archives that reach out of themselves --------------------------------------------


def zip_with(name: str) -> Maker:
    def make(folder: Path) -> Bad:
        entries = {**nlpl_entries(), name.format(folder): b"evil"}
        return Bad(write_zip(folder / "999.zip", entries), ["999.zip", "evil"])

    return make


def tar_with(name: str) -> Maker:
    def make(folder: Path) -> Bad:
        entries = {**allennlp_entries(), name.format(folder): b"evil"}
        return Bad(
            write_tar(folder / "model.tar.gz", entries), ["model.tar.gz", "evil"]
        )

    return make


def tar_with_link(kind: bytes, target: str, name: str = "evil") -> Maker:
    def make(folder: Path) -> Bad:
        path = folder / "model.tar.gz"
        with tarfile.open(path, "w:gz") as archive:
            link = tarfile.TarInfo(name)
            link.type, link.linkname = kind, target.format(folder)
            archive.addfile(link)
            for entry, data in allennlp_entries().items():
                if entry != name:
                    member = tarfile.TarInfo(entry)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        return Bad(path, ["model.tar.gz", name])

    return make


HOSTILE = {
    "zip to a parent": zip_with("../../evil"),
    "zip to a parent in between": zip_with("vocabulary/../../../evil"),
    "zip to a parent by backslashes": zip_with("..\\..\\evil"),
    "zip to an absolute path": zip_with("{}/outside/evil"),
    "zip to a drive": zip_with("C:\\evil"),
    "tar to a parent": tar_with("../../evil"),
    "tar to a parent in between": tar_with("vocabulary/../../../evil"),
    "tar to an absolute path": tar_with("{}/outside/evil"),
    "tar with a symbolic link": tar_with_link(tarfile.SYMTYPE, "/etc/passwd"),
    "tar with a link to a parent": tar_with_link(tarfile.SYMTYPE, "../.."),
    "tar with a hard link": tar_with_link(tarfile.LNKTYPE, "{}/secret"),
    "tar whose weights are a link": tar_with_link(
        tarfile.SYMTYPE, "{}/secret", "weights.th"
    ),
    "tar with a device": tar_with_link(tarfile.CHRTYPE, ""),
    "tar with a pipe": tar_with_link(tarfile.FIFOTYPE, ""),
}


@pytest.mark.parametrize("name", list(HOSTILE))
def test_archives_cannot_reach_out_of_themselves(name, folder, tmp_path):
    (folder / "secret").write_bytes(allennlp_entries()["weights.th"])
    bad = HOSTILE[name](folder)
    before = tree(tmp_path)
    with pytest.raises(ValueError) as error:
        read_elmo(bad.source)
    check_sentence(str(error.value), bad.words)
    run("init", "elmo", "en", bad.source, tmp_path / "out", code=1)
    assert tree(tmp_path) == before


# Pickles that would run code ------------------------------------------------------


def pickled(value: Any) -> bytes:
    return pickle.dumps(value)


PICKLES = {
    "AllenNLP's folder": (allennlp_folder, "weights.th"),
    "many langs' tokens": (write_many_langs, "token_embedder.pkl"),
    "many langs' encoder": (write_many_langs, "encoder.pkl"),
}


@pytest.mark.parametrize("dump", [saved, saved_as_of_old, pickled])
@pytest.mark.parametrize("name", list(PICKLES))
@pytest.mark.parametrize("hidden", [True, False])
def test_nothing_in_a_pickle_is_run(hidden, name, dump, folder, tmp_path):
    write, file_name = PICKLES[name]
    path = write(folder) / file_name
    target = tmp_path / "exploded"
    content = Bomb(target)
    if hidden:
        # Among the tensors that are really there.
        content = {**torch.load(path, weights_only=True), "extra": content}
    path.write_bytes(dump(content))
    assert_refused(folder, file_name, target, tmp_path)
    # The bomb is a real one.
    pickle.loads(pickle.dumps(Bomb(target)))
    assert target.exists()


def test_nothing_in_an_archived_pickle_is_run(folder, tmp_path):
    target = tmp_path / "exploded"
    entries = {**allennlp_entries(), "weights.th": saved({"bomb": Bomb(target)})}
    path = write_tar(folder / "model.tar.gz", entries)
    assert_refused(path, "weights.th", target, tmp_path)


def assert_refused(source, file_name, target, tmp_path):
    with pytest.raises(ValueError) as error:
        read_elmo(source)
    check_sentence(str(error.value), [file_name])
    run("init", "elmo", "en", source, tmp_path / "out", code=1)
    assert not target.exists() and not (tmp_path / "out").exists()


def test_nothing_in_an_alignment_is_run(folder, tmp_path):
    target = tmp_path / "exploded"
    path = folder / "align.pth"
    path.write_bytes(saved(Bomb(target)))
    source = hdf5_folder(folder / "model")
    output = tmp_path / "out"
    printed = run("init", "elmo", "en", source, output, "--alignment", path, code=1)
    assert "align.pth" in printed.replace(" ", "")
    assert not target.exists() and not output.exists()


def test_state_dicts_of_old_versions_of_torch_are_read(folder):
    for name in ("token_embedder.pkl", "encoder.pkl"):
        path = write_many_langs(folder) / name
        path.write_bytes(saved_as_of_old(torch.load(path, weights_only=True)))
        assert read_elmo(folder).format == "elmo-for-many-langs"


# The command's other files --------------------------------------------------------


def test_token_embeddings_need_the_vocabulary_of_their_rows(folder, tmp_path):
    files = write_bilm_files(folder)
    path = write_token_embeddings(tmp_path / "embeddings.hdf5", 6)
    vocab = write_vocab(tmp_path / "words.txt", ["the", "sea"])
    start = ["init", "elmo", "en", files.options, tmp_path / "out"]
    start += ["--weights", files.weights, "--token-embeddings", path]
    printed = run(*start, "--vocab", vocab, code=1).replace(" ", "")
    assert "embeddings.hdf5" in printed and "6" in printed and "5" in printed
    assert "--vocab" in run(*start, code=1)
    write_token_embeddings(path, 5, Sizes(projection_dim=4))
    printed = run(*start, "--vocab", vocab, code=1)
    assert "embeddings.hdf5" in printed.replace(" ", "")
    path.write_bytes(LFS_POINTER)
    assert "LFS" in run(*start, "--vocab", vocab, code=1)
    assert not (tmp_path / "out").exists()


def test_an_alignment_must_fit(folder, tmp_path):
    source = hdf5_folder(folder)
    path = tmp_path / "align.pth"
    torch.save(torch.eye(7), path)
    output = tmp_path / "out"
    printed = run("init", "elmo", "en", source, output, "--alignment", path, code=1)
    assert "(10, 10)" in printed and not output.exists()


# Only a warning -------------------------------------------------------------------


def test_a_published_name_with_other_content_is_a_warning(folder, tmp_path):
    files = write_bilm_files(folder, prefix=PUBLISHED_NAME)
    imported = read_elmo(folder)
    notes = [note for note in imported.notes if files.weights.name in note]
    assert notes and any("sha256" in note.lower() for note in notes)
    printed = run("init", "elmo", "en", folder, tmp_path / "out")
    assert "sha256" in printed.lower()
    assert (tmp_path / "out" / "config.cfg").exists()


def test_other_names_are_not_warned_of(folder):
    write_bilm_files(folder)
    assert not [note for note in read_elmo(folder).notes if "sha256" in note.lower()]
