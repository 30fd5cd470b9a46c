"""Documents of a tiny biLM, and what is stored of them."""

import pytest

from spacy_elmo_ulmfit.vectors.choices import LayerChoice
from spacy_elmo_ulmfit.vectors.settings import VectorSettings

from .util import TEXTS, write_tagger, write_two


@pytest.fixture
def docs(elmo):
    return list(elmo.pipe(TEXTS))


@pytest.fixture
def settings():
    def build(layers="all", dtype="float32", **mix):
        return VectorSettings(
            pipeline="en_tiny",
            pipeline_version="1.2.3",
            component="elmo_tok2vec",
            attribute="elmo",
            choice=LayerChoice(layers, **mix),
            dtype=dtype,
        )

    return build


@pytest.fixture(scope="session")
def tagger_path(elmo_path, tmp_path_factory):
    return write_tagger(elmo_path, tmp_path_factory.mktemp("tagger") / "pipeline")


@pytest.fixture(scope="session")
def two_path(elmo_path, awd_lstm_path, tmp_path_factory):
    return write_two(
        elmo_path, awd_lstm_path, tmp_path_factory.mktemp("two") / "pipeline"
    )
