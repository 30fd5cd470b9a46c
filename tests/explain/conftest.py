from typing import Dict

import pytest
from spacy.language import Language

from .util import train_classifier


@pytest.fixture(scope="package")
def pipelines() -> Dict[str, Language]:
    """A classifier of each kind."""
    return {
        "exclusive": train_classifier(),
        "multilabel": train_classifier("ulmfit_textcat_multilabel"),
    }


@pytest.fixture
def classifier(pipelines: Dict[str, Language]) -> Language:
    return pipelines["exclusive"]
