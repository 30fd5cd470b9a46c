import gzip
import importlib
import json
import lzma
import sys

import pytest
import spacy
from spacy.tokens import Doc, DocBin

from spacy_elmo_ulmfit.pretraining.corpus import corpora, files
from spacy_elmo_ulmfit.pretraining.corpus.corpora import (
    RawTextReader,
    create_raw_text_reader,
)

TEXTS = ["First text.", "Zweiter Text: Größe", "三番目"]
zstd = importlib.import_module(files.ZSTD)
OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open, ".zst": zstd.open}


def write(path, lines):
    with OPENERS.get(path.suffix, open)(path, "wt", encoding="utf8") as file:
        file.write("\n".join(lines))
    return path


def write_docs(path, texts):
    """Write documents of tokens that no tokenizer would make, each a sentence."""
    nlp = spacy.blank("xx")
    docs = [
        Doc(nlp.vocab, words=list(text), spaces=[False] * len(text), sent_starts=None)
        for text in texts
    ]
    for doc in docs:
        doc[0].is_sent_start = True
        for token in doc[1:]:
            token.is_sent_start = False
    with OPENERS.get(path.suffix, open)(path, "wb") as file:
        file.write(DocBin(docs=docs).to_bytes())
    return path


def read(path, limit=0):
    return list(RawTextReader(path, limit=limit).texts())


@pytest.mark.parametrize("compression", sorted(OPENERS))
@pytest.mark.parametrize("kind", [".txt", ".jsonl"])
def test_every_format_gives_the_same_texts(tmp_path, kind, compression):
    lines = TEXTS
    if kind == ".jsonl":
        lines = [json.dumps({"text": text, "other": 1}) for text in TEXTS]
    assert read(write(tmp_path / f"a.b{kind}{compression}", lines)) == TEXTS


@pytest.mark.parametrize("compression", sorted(OPENERS))
def test_stored_documents_keep_their_tokens_and_sentences(tmp_path, compression):
    path = write_docs(tmp_path / f"a.spacy{compression}", TEXTS)
    assert read(path) == TEXTS
    docs = list(create_raw_text_reader(path)(spacy.blank("en")))
    assert [[token.text for token in doc] for doc in docs] == list(map(list, TEXTS))
    assert [len(list(doc.sents)) for doc in docs] == [1, 1, 1]


def test_empty_lines_are_no_documents(tmp_path):
    lines = ["", TEXTS[0], "  \t", TEXTS[1], "", ""]
    assert read(write(tmp_path / "a.txt", lines)) == TEXTS[:2]


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_empty_texts_in_json_are_no_documents_either(tmp_path, text):
    lines = [json.dumps({"text": value}) for value in (text, "a", text, "b")]
    assert read(write(tmp_path / "a.jsonl", lines), limit=2) == ["a", "b"]


@pytest.mark.parametrize("characters", [1, 20, 10**6])
@pytest.mark.parametrize("limit", [0, 1, 2, 3, 4, 5, 6, 9])
def test_limit_counts_documents_over_all_files(
    tmp_path, limit, characters, monkeypatch
):
    monkeypatch.setattr(corpora, "_CHUNK_CHARACTERS", characters)
    write(tmp_path / "a.txt", TEXTS[:1])
    write_docs(tmp_path / "b.spacy", TEXTS[:2])
    write(tmp_path / "c.txt.gz", TEXTS[1:])
    texts = [*TEXTS[:1], *TEXTS[:2], *TEXTS[1:]]
    assert read(tmp_path, limit) == texts[: limit or None]
    docs = RawTextReader(tmp_path, limit=limit)(spacy.blank("xx"))
    assert [doc.text for doc in docs] == texts[: limit or None]


def test_a_folder_is_read_in_alphabetical_order_without_other_files(tmp_path):
    write(tmp_path / "2.txt", TEXTS[1:2])
    write(tmp_path / "1.txt.xz", TEXTS[:1])
    write(tmp_path / "3.jsonl", [json.dumps({"text": TEXTS[2]})])
    write(tmp_path / "README.md", ["no text"])
    assert read(tmp_path) == TEXTS


def test_a_folder_is_read_with_the_folders_in_it(tmp_path):
    (tmp_path / "b" / "deep.txt").mkdir(parents=True)
    write(tmp_path / "b" / "deep.txt" / "1.txt", TEXTS[1:2])
    write(tmp_path / "c.txt", TEXTS[2:])
    write(tmp_path / "a.txt", TEXTS[:1])
    assert read(tmp_path) == TEXTS


def test_a_pattern_takes_the_files_that_match(tmp_path):
    (tmp_path / "part").mkdir()
    for name, text in zip(("part/wiki_2.txt", "part/wiki_1.txt", "news.txt"), TEXTS):
        write(tmp_path / name, [text])
    assert read(tmp_path / "*" / "wiki_*.txt") == [TEXTS[1], TEXTS[0]]
    assert sorted(read(tmp_path / "**" / "*.txt")) == sorted(TEXTS)
    with pytest.raises(ValueError, match=r"no text at .*web_\*"):
        read(tmp_path / "web_*")


def test_documents_are_tokenised_by_the_pipeline(tmp_path):
    nlp = spacy.blank("en")
    reader = create_raw_text_reader(write(tmp_path / "a.txt", ["It's a cat."]))
    assert [token.text for token in next(reader(nlp))] == ["It", "'s", "a", "cat", "."]


def test_a_missing_path_is_named(tmp_path):
    with pytest.raises(ValueError, match="no text at .*gone.txt"):
        read(tmp_path / "gone.txt")
    with pytest.raises(ValueError, match="--paths.train"):
        read(None)


def test_a_folder_without_texts_is_named(tmp_path):
    write(tmp_path / "a.csv", TEXTS)
    with pytest.raises(ValueError, match=r"holds no \.txt, \.jsonl or \.spacy"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a", "a.txt.zip", "a.gz"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"{name} is not .*\.txt, \.jsonl or \.spacy"):
        read(path)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_file_that_is_not_utf8_is_named_with_its_line(tmp_path, name):
    line = '{"text": "Größe"}\n'
    (tmp_path / name).write_bytes(line.encode() * 2 + line.encode("latin-1"))
    with pytest.raises(ValueError, match=f"{name} is not UTF-8: .*line 3.*iconv"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_binary_file_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"text\n" * (name == "a.txt") + b"\x00\x01\n")
    with pytest.raises(ValueError, match=f"{name} is not a text: line . holds a NUL"):
        read(tmp_path / name)


def test_a_file_without_text_among_others_is_named(tmp_path, caplog):
    write(tmp_path / "full.txt", TEXTS)
    (tmp_path / "empty.txt").write_bytes(b"\n \n")
    with caplog.at_level("WARNING", "spacy"):
        assert read(tmp_path) == TEXTS
    assert "empty.txt holds no text" in caplog.text and "full" not in caplog.text


@pytest.mark.parametrize(
    "content", [b"", b"nonsense", b"x\x9c\x03\x00\x00\x00\x00\x01"]
)
def test_a_file_of_no_documents_is_named(tmp_path, content):
    (tmp_path / "a.spacy").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.spacy is damaged or no \.spacy file"):
        read(tmp_path / "a.spacy")


def test_what_reads_zstandard_is_named_when_it_is_missing(tmp_path, monkeypatch):
    path = write(tmp_path / "a.txt.zst", TEXTS)
    monkeypatch.setitem(sys.modules, files.ZSTD, None)
    with pytest.raises(ValueError, match=r"a\.txt\.zst.*pip install .*\[zstd\]"):
        read(path)


@pytest.mark.parametrize(
    "line",
    [
        '{"meta": 1}',
        '["text"]',
        '"text"',
        "3",
        "not json",
        '{"text": null}',
        '{"text": 3}',
        '{"text": ["a"]}',
    ],
)
def test_json_without_a_text_is_named_with_its_line(tmp_path, line):
    write(tmp_path / "a.jsonl", ['{"text": "fine"}', "", line])
    with pytest.raises(ValueError, match=r'a.jsonl, line 3: .*"text"'):
        read(tmp_path / "a.jsonl")


@pytest.mark.parametrize("suffix", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("damage", ["cut", "plain"])
def test_a_damaged_archive_is_named(tmp_path, suffix, damage):
    path = write(tmp_path / f"a.txt{suffix}", [str(i**7) for i in range(2000)])
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "cut" else b"plain text\n")
    with pytest.raises(ValueError, match=f"a.txt{suffix}"):
        read(path)


@pytest.mark.parametrize(
    "name, line", [("a.txt", "Text"), ("a.jsonl", '{"text": "Text"}')]
)
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path, name, line):
    (tmp_path / name).write_text(line, encoding="utf-8-sig")
    assert read(tmp_path / name) == ["Text"]


def test_lines_may_end_as_on_other_systems(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"one\r\ntwo\rthree\n")
    assert read(tmp_path / "a.txt") == ["one", "two", "three"]
