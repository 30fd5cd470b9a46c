"""What a linear SVM makes of the shipped biLM's vectors, alone and beside TF-IDF.

    python benchmarks/vectors_svm.py --data DATA

DATA is a folder with the data sets, as docs/data.md describes. TREC-6 is split as
benchmarks/ulmfit.py splits it; C is chosen by cross-validation on the training part.
Results go to benchmarks/results.
"""

import platform
import time
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import sklearn
import spacy
import srsly
import torch
import typer
from _runs import RESULTS, ROOT, prepare
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import Normalizer
from sklearn.svm import LinearSVC
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from wasabi import msg

from spacy_elmo_ulmfit.vectors.sklearn import ElmoVectorizer

LAYERS = ("average", "top", "layer:0", "concat")
POOLINGS = ("mean", "max", "mean_max")
GRID = {"linearsvc__C": [1.0, 10.0, 100.0]}


class Part(NamedTuple):
    """A part of the data.

    docs (List[Doc]): The questions, with the biLM's layers.
    labels (List[str]): Their labels.
    """

    docs: List[Doc]
    labels: List[str]


def main(
    data: Path = typer.Option(..., "--data", help="Folder with the data sets"),
    work: Path = typer.Option(Path("training/benchmark"), help="Folder of the data"),
    model: Path = typer.Option(ROOT / "assets/models/en_elmo_sm", help="A pipeline"),
    few: int = typer.Option(100, help="Training examples of the small setting"),
) -> None:
    """Compare TF-IDF, ELMo and both on TREC-6."""
    started = time.monotonic()
    corpus, source = work / "trec6" / "corpus", data / "trec6" / "train.jsonl.gz"
    split = ("--dev-share=0.1", f"--dev-out={corpus / 'dev.spacy'}")
    prepare("textcat-jsonl", source, corpus / "train.spacy", *split)
    nlp = spacy.load(model)
    train, dev = (read(corpus / f"{part}.spacy", nlp) for part in ("train", "dev"))
    rows = []
    # The dev part does not depend on --limit, which takes the first examples.
    for n_train in (few, len(train.docs)):
        part = Part(train.docs[:n_train], train.labels[:n_train])
        for name, features in feature_sets(nlp).items():
            rows.append({"features": name, **evaluate(features, part, dev)})
            msg.info(", ".join(f"{key} {value}" for key, value in rows[-1].items()))
    write_results(rows, seconds=time.monotonic() - started)


def read(path: Path, nlp: Language) -> Part:
    """Read questions and run the language model on them, once for all features."""
    docs = DocBin().from_disk(path).get_docs(nlp.vocab)
    docs = list(nlp.pipe(docs, batch_size=128))
    return Part(
        docs, [max(doc.cats, key=lambda label: doc.cats[label]) for doc in docs]
    )


def feature_sets(nlp: Language) -> Dict[str, Any]:
    """Return all features to compare, by name."""
    features = {"TF-IDF": tfidf()}
    for layers in LAYERS:
        for pooling in POOLINGS:
            name = f"ELMo {layers}, {pooling}"
            features[name] = elmo(nlp, layers, pooling)
            features[f"TF-IDF and {name}"] = make_union(tfidf(), features[name])
    return features


def tfidf() -> Any:
    """Words and pairs of words."""
    return TfidfVectorizer(preprocessor=text, ngram_range=(1, 2), sublinear_tf=True)


def text(doc: Doc) -> str:
    """What TF-IDF reads of a document."""
    return doc.text.lower()


def elmo(nlp: Language, layers: str, pooling: str) -> Any:
    """The biLM's vectors, of unit length as those of TF-IDF."""
    return make_pipeline(
        ElmoVectorizer(nlp, layers=layers, pooling=pooling), Normalizer()
    )


def evaluate(features: Any, train: Part, dev: Part) -> Dict[str, Any]:
    """Train an SVM with the C that is best by cross-validation, and test it."""
    svm = LinearSVC(random_state=0, dual=True, tol=1e-2, max_iter=5000)
    search = GridSearchCV(make_pipeline(features, svm), GRID, cv=3)
    search.fit(train.docs, train.labels)
    return {
        "train_examples": len(train.docs),
        "C": search.best_params_["linearsvc__C"],
        "cv_accuracy": round(search.best_score_, 4),
        "dev_accuracy": round(search.score(dev.docs, dev.labels), 4),
    }


def write_results(rows: List[Dict[str, Any]], seconds: float) -> None:
    """Write and print the table."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    machine = {
        "processor": platform.machine(),
        "torch": torch.__version__,
        "scikit-learn": sklearn.__version__,
        "seconds": round(seconds),
    }
    srsly.write_json(RESULTS / "vectors_svm.json", {"machine": machine, "rows": rows})
    header = list(rows[0])
    table = [[str(value) for value in row.values()] for row in rows]
    msg.table(table, header=header, divider=True)
    lines = [header, ["---"] * len(header), *table]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    (RESULTS / "vectors_svm.md").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
