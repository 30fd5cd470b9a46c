"""From fastai to a pipeline and back: the same numbers at every stage.

    python benchmarks/fastai_roundtrip.py --fastai-python PATH

PATH is the Python of an environment with fastai 2. It trains a language model and a
classifier for a moment and saves them; `init ulmfit` reads them, `lm export` writes them
again, and fastai's own loaders read that. Compared are logits of whole texts and scores
of single documents.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict

import numpy
import spacy
import srsly
import torch
import typer
from _runs import RESULTS, run_program

PROGRAM = Path(__file__).parent / "fastai_side" / "roundtrip.py"
DATA = Path(__file__).parents[1] / "assets" / "textcat"
LM_LOADERS = {
    "load": "`learn.load` of `model.pth`",
    "load_pretrained": "`load_pretrained` of `model.pth` and `vocab.pkl` (real words)",
    "load_encoder": "`load_encoder` of `encoder.pth` (top layer)",
}


def main(
    fastai_python: Path = typer.Option(..., help="Python with fastai 2"),
    data: Path = typer.Option(DATA, help="Folder with train.jsonl and test.jsonl"),
    output: Path = typer.Option(RESULTS, help="Where to write the results"),
) -> None:
    """Run all stages and print the table."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        run_program([fastai_python, PROGRAM, "make", folder, data.resolve()])
        made = json.loads((folder / "made.json").read_text("utf-8"))
        import_and_export(folder, made)
        errors = compare_pipelines(folder, made)
        run_program([fastai_python, PROGRAM, "check", folder])
        errors.update(json.loads((folder / "checked.json").read_text("utf-8")))
    results = {"versions": made["versions"], "sizes": made["sizes"], **errors}
    output.mkdir(parents=True, exist_ok=True)
    srsly.write_json(output / "fastai-roundtrip.json", results)
    table = format_table(results)
    (output / "fastai-roundtrip.md").write_text(table, encoding="utf-8")
    typer.echo(table)


def import_and_export(folder: Path, made: Dict[str, Any]) -> None:
    """Import what fastai saved, and export it again, by the commands."""
    spacy_command = [sys.executable, "-m", "spacy"]
    labels = ["--labels", ",".join(made["labels"])]
    for name, more in (("lm", []), ("encoder", []), ("classifier", labels)):
        vocab = ["--vocab", folder / f"{name}.pkl"]
        source, pipeline = folder / f"{name}.pth", folder / f"{name}_pipeline"
        run_program(
            [*spacy_command, "init", "ulmfit", "en", source, pipeline, *vocab, *more]
        )
        exported = folder / f"{name}_exported"
        run_program(
            [*spacy_command, "lm", "export", pipeline, exported, "--format", "fastai"]
        )


def compare_pipelines(folder: Path, made: Dict[str, Any]) -> Dict[str, Any]:
    """Compare the pipelines with fastai's numbers.

    folder (Path): Where everything is.
    made (Dict[str, Any]): What fastai said about it.
    RETURNS (Dict[str, Any]): Largest absolute differences, and how many texts.
    """
    expected = numpy.load(folder / "made.npz")
    nlp = spacy.load(folder / "lm_pipeline")
    module: Any = nlp.get_pipe("awd_lstm_tok2vec").language_model.eval()  # type: ignore[attr-defined]
    ids = torch.from_numpy(expected["ids"])
    with torch.no_grad():
        logits, outputs, _ = module(ids)
    errors: Dict[str, Any] = {
        "pipeline": largest(logits, expected["logits"]),
        "pipeline, top layer": largest(outputs[-1], expected["top"]),
    }
    nlp = spacy.load(folder / "classifier_pipeline")
    pipe: Any = nlp.get_pipe("ulmfit_textcat")
    gaps, n_same = [], 0
    for i, text in enumerate(made["texts"]):
        doc = nlp(text)
        if pipe.vocabulary.ids(pipe.lm_tokens(doc).words) == made["ids"][i]:
            n_same += 1
            gaps.append(largest(list(doc.cats.values()), expected["scores"][i]))
    errors["classifier pipeline"] = max(gaps)
    errors["n_texts"], errors["n_same_tokens"] = len(made["texts"]), n_same
    return errors


def largest(found: Any, expected: Any) -> float:
    """Return the largest absolute difference."""
    return float(numpy.abs(numpy.asarray(found) - numpy.asarray(expected)).max())


def format_table(results: Dict[str, Any]) -> str:
    """Return the results as Markdown."""
    versions, sizes = results["versions"], results["sizes"]
    rows = {
        "language model: logits of the pipeline": results["pipeline"],
        "language model: top layer of the pipeline": results["pipeline, top layer"],
        "classifier: scores of the pipeline": results["classifier pipeline"],
    }
    for name, words in LM_LOADERS.items():
        rows[f"language model exported, {words}"] = results[name]
    rows["classifier exported, `learn.load`: scores"] = results["classifier"]
    rows["classifier exported, `learn.load`: logits"] = results["classifier logits"]
    lines = [
        f"fastai {versions['fastai']}, torch {versions['torch']}; embedding "
        f"{sizes['emb_sz']}, hidden {sizes['n_hid']}, {sizes['n_layers']} layers, "
        f"{sizes['n_words']} words. Largest absolute differences from what fastai computed "
        f"before saving; classifier on {results['n_texts']} documents one by one, of which "
        f"{results['n_same_tokens']} have the same tokens in both.",
        "",
        "| | largest difference |",
        "| --- | ---: |",
    ]
    lines += [f"| {name} | {value:.1e} |" for name, value in rows.items()]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
