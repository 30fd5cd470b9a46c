"""The project's scripts and its project file."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
import srsly
from spacy.tokens import DocBin
from srsly import yaml_loads

ROOT = Path(__file__).parent.parent.parent


def run(script, *arguments, code=0):
    command = [sys.executable, ROOT / "scripts" / script, *arguments]
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result.stdout + result.stderr


def docs(path):
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


@pytest.mark.parametrize("part", ["train", "dev", "test"])
def test_demo_entities_survive_conversion(part, tmp_path):
    source = ROOT / "assets" / "ner" / f"{part}.jsonl"
    run("prepare.py", "ner-jsonl", source, tmp_path / "out.spacy")
    records = list(srsly.read_jsonl(source))
    converted = docs(tmp_path / "out.spacy")
    assert len(converted) == len(records)
    for doc, record in zip(converted, records):
        marked = [
            (e["label"], record["text"][e["start"] : e["end"]])
            for e in record["entities"]
        ]
        found = [(ent.label_, ent.text) for ent in doc.ents]
        assert len(found) == len(marked)
        for (label, text), (found_label, found_text) in zip(
            sorted(marked), sorted(found)
        ):
            assert label == found_label and text in found_text


def test_demo_data_has_the_sizes_its_cards_promise():
    ner = {
        p: list(srsly.read_jsonl(ROOT / f"assets/ner/{p}.jsonl"))
        for p in ("train", "dev", "test")
    }
    cats = {
        p: list(srsly.read_jsonl(ROOT / f"assets/textcat/{p}.jsonl"))
        for p in ("train", "dev", "test")
    }
    assert sum(map(len, ner.values())) >= 400
    assert sum(map(len, cats.values())) >= 500
    labels = {
        e["label"] for records in ner.values() for r in records for e in r["entities"]
    }
    assert labels == {"PER", "ORG", "LOC", "PRODUCT"}
    for records in cats.values():
        assert len({record["label"] for record in records}) >= 5
    texts = [
        record["text"]
        for data in (ner, cats)
        for part in data.values()
        for record in part
    ]
    assert len(texts) == len(set(texts))


def test_conll_becomes_entities(tmp_path):
    text = "Anna\tB-PER\nKovacs\tI-PER\n,\tO\nRome\tB-LOC\nOslo\tB-LOC\n\nok\tO\n"
    path = tmp_path / "data.conll.gz"
    path.write_bytes(gzip.compress(text.encode("utf-8")))
    run("prepare.py", "ner-conll", path, tmp_path / "out.spacy")
    first, second = docs(tmp_path / "out.spacy")
    assert [(ent.text, ent.label_) for ent in first.ents] == [
        ("Anna Kovacs", "PER"),
        ("Rome", "LOC"),
        ("Oslo", "LOC"),
    ]
    assert not second.ents


def test_universal_ner_files_are_read_as_published(tmp_path):
    lines = ["# sent_id = 1", "1\tAl\tB-PER\t-\tx", "2\tsaw\tB-O\t-\tx"]
    lines += ["3\tIslam\tB-OTH\t-\tx", "4\tRome\tB-LOC\t-\tx", "", ""]
    path = tmp_path / "data.conll"
    path.write_text("\n".join(lines), encoding="utf-8")
    run("prepare.py", "ner-conll", f"{path}.gz", tmp_path / "out.spacy")
    (doc,) = docs(tmp_path / "out.spacy")
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("Al", "PER"),
        ("Rome", "LOC"),
    ]


def test_the_dev_part_is_the_same_for_every_limit(tmp_path):
    path = tmp_path / "data.jsonl"
    lines = [json.dumps({"text": f"text {i}", "label": "ab"[i % 2]}) for i in range(50)]
    path.write_text("\n".join(lines), encoding="utf-8")
    devs, trains = [], []
    for limit in (0, 10):
        train, dev = tmp_path / f"train{limit}.spacy", tmp_path / f"dev{limit}.spacy"
        run(
            "prepare.py", "textcat-jsonl", path, train,
            "--limit", limit, "--dev-share", 0.2, "--dev-out", dev,
        )  # fmt: skip
        devs.append([doc.text for doc in docs(dev)])
        trains.append([doc.text for doc in docs(train)])
    assert devs[0] == devs[1] and len(devs[0]) == 10
    assert trains[1] == trains[0][:10]
    assert not set(trains[0]) & set(devs[0])


def test_summary_lists_every_pipeline(tmp_path):
    for name, score in (("elmo", 0.7), ("baseline", 0.5)):
        folder = tmp_path / "ner"
        folder.mkdir(exist_ok=True)
        srsly.write_json(folder / f"{name}.json", {"ents_f": score, "speed": 1000.4})
        srsly.write_json(folder / f"{name}.seconds.json", {"seconds": 12.3})
    printed = run("summarize.py", tmp_path)
    assert "baseline" in printed
    rows = srsly.read_json(tmp_path / "summary.json")
    assert rows[1].pop("score") == pytest.approx(0.7)
    assert rows[1] == {
        "task": "ner",
        "pipeline": "elmo",
        "pretrained": True,
        "metric": "ents_f",
        "train_seconds": 12.3,
        "words_per_second": 1000,
    }
    assert (tmp_path / "summary.md").read_text("utf-8").count("|") > 20


def test_timed_passes_the_exit_code_on_and_writes_only_on_success(tmp_path):
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    run("timed.py", good, "python", "-c", "pass")
    run("timed.py", bad, "python", "-c", "raise SystemExit(3)", code=3)
    assert srsly.read_json(good)["seconds"] >= 0
    assert not bad.exists()


def test_every_workflow_of_the_project_names_commands_that_exist():
    project = yaml_loads((ROOT / "project.yml").read_text(encoding="utf-8"))
    commands = {command["name"] for command in project["commands"]}
    for steps in project["workflows"].values():
        assert set(steps) <= commands
    for command in project["commands"]:
        for line in command["script"]:
            assert "&&" not in line and "*" not in line
    assert all(asset["extra"] for asset in project["assets"])
