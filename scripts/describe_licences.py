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

attnlag is under the [MIT licence](../LICENSE). Its packages and those of its default run, in the
versions of `requirements.txt`, state these. torch, of which a range of versions is allowed, is
under BSD-3-Clause, with parts under other licences. `python scripts/describe_licences.py` generates
this page, and `make lint` checks it.

"""
# A longer field is the text of a licence, not its name.
LONGEST_NAME = 60


def required(package: str, found: set[str], extra: str = "") -> set[str]:
    """Return the names of the packages that a package needs, directly or not."""
    for line in metadata.requires(package) or []:
        requirement = Requirement(line)
        name = canonicalize_name(requirement.name)
        if name in found or (
            requirement.marker and not requirement.marker.evaluate({"extra": extra})
        ):
            continue
        found.add(name)
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
    packages = [
        name
        for name in sorted(required("attnlag", set(), extra="tagger"))
        # The dependencies of torch depend on its build.
        if name != "torch" and not name.startswith(("triton", "nvidia-", "cuda-"))
    ]
    stating: dict[str, list[str]] = {}
    for name in packages:
        stating.setdefault(licence_of(metadata.distribution(name)), []).append(name)
    lines = [f"- **{licence}**: {', '.join(names)}" for licence, names in sorted(stating.items())]
    return HEADER + "\n".join(lines) + "\n"


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / "docs" / "licences.md": page()})
