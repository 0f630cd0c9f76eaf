"""The three lists of packages agree."""

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]


def listed(name):
    """Return the requirements of a file by name."""
    found = {}
    for line in (ROOT / name).read_text().splitlines():
        text = line.split("#")[0].strip()
        if text and not text.startswith("-"):
            requirement = Requirement(text)
            found[canonicalize_name(requirement.name)] = requirement
    return found


def test_exact_versions_are_within_the_ranges():
    ranges, exact = listed("requirements.in"), listed("requirements.txt")
    assert set(ranges) <= set(exact)
    for name, requirement in exact.items():
        if name == "torch":
            assert requirement.specifier == ranges[name].specifier
            assert requirement.specifier.contains("2.13.0")
            continue
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        if name in ranges:
            assert ranges[name].specifier.contains(pin.version)


def test_conda_gets_the_same_list():
    environment = yaml.safe_load((ROOT / "workflow/envs/attnlag.yaml").read_text())
    (pip,) = [item["pip"] for item in environment["dependencies"] if isinstance(item, dict)]
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    assert pip == [line for line in lines if line[0] not in "#-"]


def test_no_download_address_is_recorded():
    lists = ("requirements.in", "requirements.txt")
    extras = ("audit", "docs", "report", "slurm", "storage")
    lists += tuple(f"requirements-{extra}.txt" for extra in extras)
    for name in (*lists, "workflow/envs/attnlag.yaml"):
        assert not re.search(r"://|index-url|find-links", (ROOT / name).read_text())
