import pytest

KINDS = ("workflow", "group", "job")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=1, help="of each kind")
    parser.addoption("--seed", type=int, default=0)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kills = range(metafunc.config.getoption("kills", 1))
    metafunc.parametrize("trial", [f"{kind} {number}" for kind in KINDS for number in kills])
