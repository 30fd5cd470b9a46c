"""The linear model that text classifiers are compared with."""

from pathlib import Path
from typing import Any, List, Tuple

import srsly

TFIDF = "linear TF-IDF"


def linear_model() -> Any:
    """Return an untrained linear SVM on TF-IDF of words and pairs of words."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import LinearSVC

    return make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LinearSVC()
    )


def texts_and_labels(corpus: Path) -> Tuple[List[str], List[str]]:
    """Read what `write_corpus` wrote beside a corpus in spaCy's format."""
    records = list(srsly.read_jsonl(corpus.with_suffix(".jsonl")))
    return [record["text"] for record in records], [
        record["label"] for record in records
    ]
