"""Every entry point in setup.cfg resolves, under the name that configs use."""

import configparser
from pathlib import Path

import pytest
import spacy
from spacy.util import registry

SETUP = Path(__file__).parent.parent / "setup.cfg"
GROUPS = {
    "spacy_architectures": "architectures",
    "spacy_readers": "readers",
    "spacy_loggers": "loggers",
    "spacy_callbacks": "callbacks",
    "thinc_schedules": "schedules",
    "thinc_optimizers": "optimizers",
}


def entry_points():
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str
    parser.read(SETUP, encoding="utf-8")
    for group, lines in parser["options.entry_points"].items():
        for line in lines.strip().splitlines():
            name, target = (part.strip() for part in line.split("=", 1))
            yield group, name, target


@pytest.mark.parametrize("group, name, target", list(entry_points()))
def test_entry_point_resolves(group, name, target):
    module, _, attribute = target.partition(":")
    function = getattr(__import__(module, fromlist=[attribute]), attribute)
    if group == "spacy_factories":
        assert spacy.blank("en").has_factory(name)
    elif group in GROUPS:
        assert getattr(registry, GROUPS[group]).get(name) is function


def test_registered_names_carry_the_distribution_and_a_version():
    for group, name, _ in entry_points():
        if group in GROUPS:
            assert name.startswith("spacy-elmo-ulmfit.") and name.endswith(".v1")
