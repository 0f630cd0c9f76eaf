"""Write docs/licences.md: the packages that attnlag needs, and the licences that they state.

Each package is looked up in the environment that runs this program. With --check, nothing is
written: a list that is not up to date is named, and the exit status is 1.
"""

from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from attnlag.pipeline.generated_pages import write_or_check

HEADER = """\
# Licences of the packages

This page lists the licences that the packages of attnlag and its default run state. `python
scripts/describe_licences.py` generates it, and `make lint` checks it. torch is not in the list,
because any version of a range is allowed: it is under BSD-3-Clause, with parts under other
licences. attnlag itself is under the [MIT licence](../LICENSE).

| package | version | licence |
|---|---|---|
"""
# A longer field is the text of a licence, not its name.
LONGEST_NAME = 60


def required(package: str, found: dict[str, str] | None = None, extra: str = "") -> dict[str, str]:
    """Return the packages that a package needs, directly or not, and their versions, by name."""
    found = {} if found is None else found
    for line in metadata.requires(package) or []:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in found:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        found[name] = metadata.version(name)
        required(name, found)
    return found


def licence_of(package: metadata.Distribution) -> str:
    """Return the licence of a package from an expression, a short name, classifiers or a file."""
    stated = package.metadata
    if "License-Expression" in stated:
        return stated["License-Expression"]
    name = stated["License"].strip() if "License" in stated else ""
    if name and "\n" not in name and len(name) <= LONGEST_NAME:
        return name
    classifiers = [c for c in stated.get_all("Classifier", []) if c.startswith("License ::")]
    if classifiers:
        return ", ".join(classifier.split(" :: ")[-1] for classifier in classifiers)
    for file in sorted(package.files or [], key=str):
        # The package may have data files with such names.
        if ".dist-info" in str(file) and file.name.upper().startswith(("LICENSE", "LICENCE")):
            lines = filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines()))
            return next(lines, "not stated")
    return "not stated"


def page() -> str:
    """Return the list in Markdown."""
    packages = {
        name: version
        for name, version in sorted(required("attnlag", extra="tagger").items())
        # The dependencies of torch depend on its build.
        if name != "torch" and not name.startswith(("triton", "nvidia-", "cuda-"))
    }
    rows = [
        f"| {name} | {version} | {licence_of(metadata.distribution(name))} |"
        for name, version in packages.items()
    ]
    return HEADER + "\n".join(rows) + "\n"


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / "docs" / "licences.md": page()})
