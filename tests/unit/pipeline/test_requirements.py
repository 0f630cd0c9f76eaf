"""The lists of packages agree: ranges, exact versions, and those for conda."""

import re
import tomllib
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def by_name(lines):
    requirements = map(Requirement, lines)
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


LINES = (ROOT / "requirements.txt").read_text().splitlines()
PINNED = by_name(line for line in LINES if line and not line.startswith("#"))


def test_exact_versions_are_within_the_ranges():
    extras = [line for lines in PROJECT["optional-dependencies"].values() for line in lines]
    for name, requirement in by_name([*PROJECT["dependencies"], *extras]).items():
        if name == "torch":
            # A build for CPU that is at hand will do.
            assert name not in PINNED
            assert requirement.specifier.contains("2.13.0")
        else:
            (pin,) = PINNED[name].specifier
            assert pin.operator == "=="
            assert requirement.specifier.contains(pin.version)


def test_the_conda_environment_has_every_requirement():
    environment = yaml.safe_load((ROOT / "workflow/envs/attnlag.yaml").read_text())
    (listed,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    default_run = PROJECT["optional-dependencies"]["tagger"]
    needed = by_name([*PROJECT["dependencies"], *default_run])
    expected = [PINNED.get(name, requirement) for name, requirement in sorted(needed.items())]
    assert listed == [str(requirement) for requirement in expected]


def test_no_download_address_is_recorded():
    for name in ("pyproject.toml", "requirements.txt", "workflow/envs/attnlag.yaml"):
        assert not re.search(r"://|index-url|find-links", (ROOT / name).read_text())
