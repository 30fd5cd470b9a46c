import gzip
import json
import lzma

import pytest
import spacy

from spacy_elmo_ulmfit.pretraining.corpora import RawTextReader, create_raw_text_reader

TEXTS = ["First text.", "Zweiter Text: Größe", "三番目"]
OPENERS = {"": open, ".gz": gzip.open, ".xz": lzma.open}


def write(path, lines):
    with OPENERS.get(path.suffix, open)(path, "wt", encoding="utf8") as file:
        file.write("\n".join(lines))
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


def test_empty_lines_are_no_documents(tmp_path):
    lines = ["", TEXTS[0], "  \t", TEXTS[1], "", ""]
    assert read(write(tmp_path / "a.txt", lines)) == TEXTS[:2]


@pytest.mark.parametrize("text", ["", "  ", "\n"])
def test_empty_texts_in_json_are_no_documents_either(tmp_path, text):
    lines = [json.dumps({"text": value}) for value in (text, "a", text, "b")]
    assert read(write(tmp_path / "a.jsonl", lines), limit=2) == ["a", "b"]


@pytest.mark.parametrize("limit, n_texts", [(0, 3), (1, 1), (2, 2), (9, 3)])
def test_limit_counts_documents_over_all_files(tmp_path, limit, n_texts):
    write(tmp_path / "a.txt", TEXTS[:1])
    write(tmp_path / "b.txt.gz", TEXTS[1:])
    assert read(tmp_path, limit) == TEXTS[:n_texts]


def test_a_folder_is_read_in_alphabetical_order_without_other_files(tmp_path):
    write(tmp_path / "2.txt", TEXTS[1:2])
    write(tmp_path / "1.txt.xz", TEXTS[:1])
    write(tmp_path / "3.jsonl", [json.dumps({"text": TEXTS[2]})])
    write(tmp_path / "README.md", ["no text"])
    assert read(tmp_path) == TEXTS


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
    with pytest.raises(ValueError, match=r"holds no \.txt or \.jsonl"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a.csv", "a", "a.txt.zip", "a.gz"])
def test_an_unknown_suffix_is_refused_with_the_known_ones(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"x")
    with pytest.raises(ValueError, match=rf"{name} is not .*\.txt or \.jsonl"):
        read(path)


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_file_that_is_not_utf8_is_named(tmp_path, name):
    (tmp_path / name).write_bytes('{"text": "Größe"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=f"{name} is not UTF-8.*iconv"):
        read(tmp_path / name)


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


@pytest.mark.parametrize("suffix", [".gz", ".xz"])
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
