"""Checkpoints on a disk that may be full, or damaged."""

import random
from pathlib import Path

import numpy
import pytest
import torch

from spacy_elmo_ulmfit.pretraining.resuming.checkpoint import (
    checkpoint_files,
    load_checkpoint,
    remove_checkpoints,
    save_checkpoint,
)
from spacy_elmo_ulmfit.pretraining.resuming.random_states import (
    random_states,
    restore_random_states,
)

FULL = Path("/dev/full")


def save(folder, *steps, keep=2):
    for step in steps:
        data = {"step": step, "weights": torch.full((1000,), float(step))}
        save_checkpoint(folder, data, step=step, keep=keep)


def steps_of(folder):
    return [int(path.stem) for path in checkpoint_files(folder)]


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-100])


def empty(path):
    path.write_bytes(b"")


DAMAGES = [flip_a_bit, cut_off, empty]


def test_the_last_n_are_kept(tmp_path):
    save(tmp_path, 2, 9, 10, 11, keep=3)
    assert steps_of(tmp_path) == [11, 10, 9]
    assert load_checkpoint(tmp_path)["step"] == 11
    save(tmp_path, 12, keep=1)
    assert steps_of(tmp_path) == [12]


def test_only_checkpoints_are_deleted(tmp_path):
    save(tmp_path, 1)
    folder = checkpoint_files(tmp_path)[0].parent
    leftover, notes = folder / "0000000002.pt.tmp", folder / "notes.txt"
    leftover.write_bytes(b"of a killed process")
    notes.write_text("of the user")
    save(tmp_path, 3)
    assert notes.exists() and not leftover.exists()


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_with_a_warning(tmp_path, damage, caplog):
    save(tmp_path, 10, 20)
    newest = checkpoint_files(tmp_path)[0]
    damage(newest)
    data = load_checkpoint(tmp_path)
    assert data["step"] == 10 and data["weights"].eq(10).all()
    assert f"{newest} is damaged" in caplog.text
    # The run that goes on from there does not keep it in the place of a good one.
    save(tmp_path, 15)
    assert steps_of(tmp_path) == [15, 10]


@pytest.mark.parametrize("damage", DAMAGES)
def test_no_good_checkpoint_is_an_error(tmp_path, damage):
    save(tmp_path, 10, keep=1)
    damage(checkpoint_files(tmp_path)[0])
    with pytest.raises(ValueError, match="All checkpoints in .* are damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("n_weights", [1, 1_000_000])
def test_a_full_disk_leaves_the_last_checkpoint_and_names_the_file(tmp_path, n_weights):
    save(tmp_path, 10, keep=1)
    path = checkpoint_files(tmp_path)[0].with_name("0000000020.pt")
    path.with_name(f"{path.name}.tmp").symlink_to(FULL)
    data = {"weights": torch.zeros(n_weights)}
    with pytest.raises(ValueError, match="No space left") as error:
        save_checkpoint(tmp_path, data, step=20, keep=1)
    assert str(path) in str(error.value) and "0000000010.pt" in str(error.value)
    assert [file.name for file in path.parent.iterdir()] == ["0000000010.pt"]
    assert load_checkpoint(tmp_path)["step"] == 10


def test_what_is_saved_is_not_copied_first(tmp_path, monkeypatch):
    weights, given = torch.zeros(10), []
    monkeypatch.setattr(torch, "save", lambda data, file: given.append(data))
    save_checkpoint(tmp_path, {"weights": weights}, step=1, keep=1)
    assert given[0]["weights"].data_ptr() == weights.data_ptr()


def test_a_new_run_deletes_those_of_an_older_one(tmp_path):
    save(tmp_path, 1, 2)
    remove_checkpoints(tmp_path)
    assert not checkpoint_files(tmp_path)
    remove_checkpoints(tmp_path)


def test_all_random_numbers_go_on_from_a_checkpoint(tmp_path):
    def draw():
        return random.gauss(0, 1), numpy.random.normal(), float(torch.randn(()))

    # One number of a pair is left over in Python's and in numpy's generators.
    draw()
    save_checkpoint(tmp_path, random_states(), step=1, keep=1)
    expected = [draw() for _ in range(3)]
    restore_random_states(load_checkpoint(tmp_path))
    assert [draw() for _ in range(3)] == expected
