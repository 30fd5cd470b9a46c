"""Layers on disk, whatever processes, disks and other programs do to them."""

import contextlib
import errno
import logging
import multiprocessing
import os
import signal
import sqlite3
import tempfile
from pathlib import Path

import numpy
import pytest
from numpy.testing import assert_array_equal

from spacy_elmo_ulmfit.pipeline import disk_cache
from spacy_elmo_ulmfit.pipeline.cache import HALF, LayerCache
from spacy_elmo_ulmfit.pipeline.disk_cache import DATA_SUFFIX, INDEX_FILE, DiskCache

MANY = 2**30
NOBODY = 65534


def document(number):
    """Key and layers of a document, which differ from those of all others."""
    shape = (3, number % 5, 4)
    random = numpy.random.default_rng(number)
    return b"key %d" % number, random.normal(size=shape).astype(HALF)


def documents(*numbers):
    return dict(map(document, numbers))


def check(cache, *numbers, missing=()):
    """Ask for documents: those that are missing are not there, the others are right."""
    expected = documents(*numbers)
    found = cache.get([*expected, *documents(*missing)])
    assert set(found) == set(expected)
    for key, layers in expected.items():
        assert_array_equal(found[key], layers)
        assert found[key].dtype == HALF


def data_files(folder):
    return sorted(folder.glob(f"*{DATA_SUFFIX}"))


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "caches" / "fingerprint"


@pytest.fixture
def cache(folder):
    return DiskCache(folder, MANY)


def in_new_process(function, *arguments):
    process = multiprocessing.get_context("spawn").Process(
        target=function, args=arguments
    )
    process.start()
    process.join()
    return process.exitcode


@pytest.mark.parametrize("build", [LayerCache, None], ids=["memory", "disk"])
def test_what_is_stored_is_there_and_nothing_else_is(build, cache):
    cache = cache if build is None else build(MANY)
    check(cache, missing=[1, 2])
    cache.store(documents(1, 2, 5))
    cache.store(documents(2, 3))
    cache.store({})
    check(cache, 1, 2, 3, 5, missing=[4])
    # The same one twice in a batch.
    key, _ = document(1)
    assert list(cache.get([key, key])) == [key]


def test_the_memory_cache_forgets_what_was_used_least_recently():
    size = document(1)[1].nbytes
    cache = LayerCache(3 * size)
    # Of one size: one row each.
    cache.store(documents(1, 6, 11))
    check(cache, 1)
    cache.store(documents(16))
    check(cache, 1, 11, 16, missing=[6])
    cache.store(documents(4))
    check(cache, 1, 11, 16, missing=[4])


def test_documents_are_kept_once(cache, folder):
    cache.store(documents(1, 2))
    DiskCache(folder, MANY).store(documents(1, 2))
    DiskCache(folder, MANY).store(documents(2, 3))
    sizes = [path.stat().st_size for path in data_files(folder)]
    assert sum(sizes) == sum(layers.nbytes for layers in documents(1, 2, 3).values())


def test_what_is_returned_may_be_changed(cache):
    cache.store(documents(1))
    for layers in cache.get(documents(1)).values():
        layers += 1
    check(cache, 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_bytes(path.read_bytes()[:-2]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: path.write_bytes(path.read_bytes()[2:] + b"xx"),
        lambda path: path.unlink(),
        lambda path: path.unlink() or path.mkdir(),
    ],
    ids=["truncated", "empty", "zeros", "shifted", "gone", "folder"],
)
def test_damaged_layers_are_missing_and_are_written_anew(cache, folder, damage):
    DiskCache(folder, MANY).store(documents(1))
    damage(*data_files(folder))
    check(cache, missing=[1])
    cache.store(documents(1, 2))
    check(cache, 1, 2)


def test_layers_of_another_document_are_never_taken(cache, folder):
    # Of one shape, so that only their checksums tell them apart.
    cache.store(documents(1, 6))
    with contextlib.closing(sqlite3.connect(folder / INDEX_FILE)) as index:
        one, other = (
            index.execute("SELECT start FROM layers WHERE key = ?", (key,)).fetchone()
            for key in documents(1, 6)
        )
        for key, (start,) in zip(documents(1, 6), (other, one)):
            index.execute("UPDATE layers SET start = ? WHERE key = ?", (start, key))
        index.commit()
    check(cache, missing=[1, 6])


@pytest.mark.parametrize(
    "column, value",
    [("start", -8), ("start", 2**62), ("n_rows", -1), ("n_rows", 2**40)],
)
def test_a_row_that_makes_no_sense_is_passed_over(cache, folder, column, value):
    cache.store(documents(1, 2))
    with contextlib.closing(sqlite3.connect(folder / INDEX_FILE)) as index:
        key, _ = document(1)
        index.execute(f"UPDATE layers SET {column} = ? WHERE key = ?", (value, key))
        index.commit()
    check(cache, 2, missing=[1])


@pytest.mark.parametrize("content", [b"not an index at all" * 100, b""])
def test_a_foreign_index_has_nothing(cache, folder, caplog, content):
    folder.mkdir(parents=True)
    (folder / INDEX_FILE).write_bytes(content)
    check(cache, missing=[1])
    cache.store(documents(1))
    if content:
        check(cache, missing=[1])
        assert str(folder) in caplog.text
    else:
        check(cache, 1)


def test_a_truncated_index_gives_nothing_wrong(cache, folder):
    numbers = range(2000)
    cache.store(documents(*numbers))
    index = folder / INDEX_FILE
    content = index.read_bytes()
    for size in (10, 100, 4096, len(content) // 2, len(content) - 4096):
        index.write_bytes(content[:size])
        found = DiskCache(folder, MANY).get(documents(*numbers))
        for key, layers in documents(*numbers).items():
            if key in found:
                assert_array_equal(found[key], layers)


def write_and_die(folder, moment):
    """Store documents in a process that is killed while it does."""
    append = disk_cache._append

    def die(*arguments):
        os.kill(os.getpid(), signal.SIGKILL)

    def write_half(path, data):
        append(path, data[: len(data) // 2])
        die()

    def write_all(path, data):
        append(path, data)
        die()

    cache = DiskCache(folder, MANY)
    cache.store(documents(1))
    if moment == "in the middle":
        disk_cache._append = write_half
    elif moment == "before the index":
        disk_cache._append = write_all
    else:
        # The first row is in the index then, but not committed.
        checksums = iter([disk_cache._checksum, die])
        disk_cache._checksum = lambda key, half: next(checksums)(key, half)
    cache.store(documents(2, 3))


@pytest.mark.parametrize(
    "moment", ["in the middle", "before the index", "before the commit"]
)
def test_a_process_killed_while_it_writes_leaves_nothing_wrong(cache, folder, moment):
    assert in_new_process(write_and_die, folder, moment) == -signal.SIGKILL
    check(cache, 1, missing=[2, 3])
    cache.store(documents(3, 4))
    check(DiskCache(folder, MANY), 1, 3, 4, missing=[2])


def write_many(folder, barrier, numbers):
    cache = DiskCache(folder, MANY)
    barrier.wait()
    for start in range(0, len(numbers), 4):
        batch = numbers[start : start + 4]
        found = cache.get(documents(*batch))
        missing = {k: v for k, v in documents(*batch).items() if k not in found}
        cache.store(missing)
        check(cache, *batch)


def test_processes_that_write_at_the_same_time_do_not_disturb_each_other(cache, folder):
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(2)
    writers = [
        context.Process(target=write_many, args=(folder, barrier, numbers))
        for numbers in (range(0, 120), range(60, 180))
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    check(cache, *range(180))
    assert len(data_files(folder)) == 2
    sizes = [path.stat().st_size for path in data_files(folder)]
    assert sum(sizes) == sum(half.nbytes for half in documents(*range(180)).values())


def test_nothing_is_stored_beyond_the_budget_and_one_line_says_so(folder, caplog):
    sizes = [half.nbytes for half in documents(1, 2, 3, 4).values()]
    cache = DiskCache(folder, sum(sizes[:3]))
    cache.store(documents(1, 2))
    assert not caplog.records
    # The fourth does not fit, nor does a smaller one after it.
    cache.store(documents(3, 4))
    cache.store(documents(6))
    check(cache, 1, 2, 3, missing=[4, 6])
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cache_mb" in record.message and str(folder.parent) in record.message


def test_the_budget_is_that_of_all_weights_and_runs_together(folder, caplog):
    sizes = [half.nbytes for half in documents(1, 2, 3).values()]
    DiskCache(folder, MANY).store(documents(1))
    DiskCache(folder.parent / "other weights", MANY).store(documents(2))
    cache = DiskCache(folder, sum(sizes) - 1)
    cache.store(documents(3))
    check(cache, 1, missing=[3])
    DiskCache(folder, sum(sizes)).store(documents(3))
    check(cache, 1, 3)


def test_a_full_disk_is_told_once_and_nothing_is_lost(
    cache, folder, caplog, monkeypatch
):
    append = disk_cache._append

    def fill_up(path, data):
        append(path, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache.store(documents(1))
    monkeypatch.setattr(disk_cache, "_append", fill_up)
    cache.store(documents(2, 3))
    cache.store(documents(4))
    check(cache, 1, missing=[2, 3, 4])
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "No space left on device" in caplog.text and str(folder) in caplog.text
    monkeypatch.undo()
    DiskCache(folder, MANY).store(documents(2))
    check(cache, 1, 2)


@contextlib.contextmanager
def rights_of_a_user():
    """What is write-protected is so for nobody but root."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_write_protected_folder_is_read_and_one_line_says_that_it_is_not_written(
    caplog,
):
    # The folders of pytest can be entered by their owner alone.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "fingerprint"
        DiskCache(folder, MANY).store(documents(1))
        for path in (*folder.iterdir(), folder, Path(name)):
            path.chmod(0o555 if path.is_dir() else 0o444)
        with rights_of_a_user():
            cache = DiskCache(folder, MANY)
            check(cache, 1, missing=[2])
            cache.store(documents(2))
            cache.store(documents(3))
            check(cache, 1, missing=[2, 3])
        assert [record.levelno for record in caplog.records] == [logging.WARNING]
        for path in (Path(name), folder):
            path.chmod(0o755)


def resident_bytes():
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="asks Linux")
def test_memory_does_not_grow_with_what_is_read_and_written(cache):
    megabyte = numpy.ones((1, 2**10, 2**9), HALF)
    keys = [b"%d" % number for number in range(64)]
    cache.store({b"first": megabyte})
    cache.get([b"first"])
    before = resident_bytes()
    for key in keys:
        cache.store({key: megabyte})
    for key in keys:
        assert list(cache.get([key])) == [key]
    assert resident_bytes() - before < 16 * megabyte.nbytes
