from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for what a user names."""
    path = tmp_path / "input"
    path.mkdir()
    return path
