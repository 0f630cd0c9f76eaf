"""Models of a test of its own: one to change, where it is fetched to, and an index of packages."""

import shutil
from pathlib import Path

import pytest


@pytest.fixture
def mine(gpt2, tmp_path):
    """Return a copy of a small model."""
    return Path(shutil.copytree(gpt2, tmp_path / "mine"))


@pytest.fixture
def target(tmp_path):
    return tmp_path / "models" / "mine"


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Return a folder of wheels that stands for the package index."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    return tmp_path / "index"
