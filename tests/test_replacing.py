import pytest

from spacy_elmo_ulmfit.replacing import replace_directory, replacing


def test_a_directory_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "model"

    def write(name):
        def function(folder):
            folder.mkdir()
            (folder / name).write_text("x")
            if name == "broken":
                raise OSError("disk full")

        return function

    replace_directory(path, write("first"))
    with pytest.raises(OSError):
        replace_directory(path, write("broken"))
    assert [file.name for file in path.iterdir()] == ["first"]
    assert [file.name for file in path.parent.iterdir()] == ["model"]
    replace_directory(path, write("second"))
    assert [file.name for file in path.iterdir()] == ["second"]
    assert [file.name for file in path.parent.iterdir()] == ["model"]


def test_what_a_killed_process_left_does_not_get_in_the_way(tmp_path):
    path = tmp_path / "model"
    for name in ("model.tmp", "model.old"):
        (tmp_path / name).mkdir()
    replace_directory(path, lambda folder: folder.mkdir())
    assert [file.name for file in tmp_path.iterdir()] == ["model"]


def test_a_directory_that_was_only_moved_away_is_put_back(tmp_path):
    old = tmp_path / "model.old"
    old.mkdir()
    (old / "weights").write_text("x")

    def fail(folder):
        raise OSError("disk full")

    with pytest.raises(OSError):
        replace_directory(tmp_path / "model", fail)
    assert (tmp_path / "model" / "weights").read_text() == "x"
    assert not old.exists()


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "file.txt"
    with replacing(path) as temporary:
        temporary.write_text("first")
    with pytest.raises(OSError):
        with replacing(path) as temporary:
            temporary.write_text("broken")
            raise OSError("disk full")
    assert path.read_text() == "first"
    assert [file.name for file in path.parent.iterdir()] == ["file.txt"]
