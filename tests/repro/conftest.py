from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--configfile", type=Path, help="run this configuration of the project")
