from typing import Dict

import pytest
from spacy.language import Language

from .util import train_classifier, train_ensemble


@pytest.fixture(scope="package")
def pipelines() -> Dict[str, Language]:
    """A classifier of each kind."""
    return {
        "exclusive": train_classifier(),
        "multilabel": train_classifier("ulmfit_textcat_multilabel"),
        "ensemble": train_ensemble(),
    }


@pytest.fixture
def classifier(pipelines: Dict[str, Language]) -> Language:
    return pipelines["exclusive"]
