"""The project file: its assets and the commands it is made of."""

import shlex
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest
import srsly
from spacy.cli._util import app
from typer.main import get_command
from weasel.schemas import ProjectConfigSchema
from weasel.util import load_project_config, validate_project_commands

import spacy_elmo_ulmfit.cli  # noqa: F401

ROOT = Path(__file__).parent.parent
OWN_GROUPS = ("lm", "ulmfit")
OWN_INITS = ("elmo", "ulmfit")


def project() -> Dict[str, Any]:
    return dict(srsly.read_yaml(ROOT / "project.yml"))


def own_commands() -> Iterator[List[str]]:
    """Yield the arguments of every command that this package adds to spaCy's."""
    # With the values of [vars], as they are run.
    for command in load_project_config(ROOT)["commands"]:
        for line in command["script"]:
            arguments = shlex.split(line)
            if "spacy" not in arguments:
                continue
            arguments = arguments[arguments.index("spacy") + 1 :]
            group, name = arguments[:2]
            if group in OWN_GROUPS or (group == "init" and name in OWN_INITS):
                yield arguments


def test_project_file_is_one_that_spacy_accepts() -> None:
    config = project()
    ProjectConfigSchema.model_validate(config)
    validate_project_commands(config)


@pytest.mark.parametrize("arguments", own_commands(), ids=" ".join)
def test_commands_have_the_options_they_are_called_with(arguments: List[str]) -> None:
    group, name, *rest = arguments
    command: Any = get_command(app)
    command = command.commands[group].commands[name]
    command.make_context(name, rest)


def test_assets_that_are_fetched_are_extra_and_named_once() -> None:
    assets = project()["assets"]
    assert all(asset["extra"] for asset in assets)
    names = [asset["dest"] for asset in assets]
    assert len(names) == len(set(names))


def test_files_of_import_commands_are_assets() -> None:
    config = project()
    assets = {asset["dest"] for asset in config["assets"]}
    for command in config["commands"]:
        if command["name"].startswith("import-"):
            assert set(command["deps"]) <= assets
