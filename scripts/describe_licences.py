"""Write docs/licences.md: the pinned packages and their licences, as the packages state them.

The packages are those of requirements.txt, and each is looked up in the environment that runs this
program. With --check nothing is written: a list that is not up to date is named, and the status is
1.
"""

import re
import sys
from importlib import metadata
from pathlib import Path

from attnlag.pipeline.generated_pages import write_or_check

HEADER = """\
# Licences of the packages

What the packages of requirements.txt state about their own licence, as
`python scripts/describe_licences.py` writes it and `make lint` checks it. torch is not in the list,
since any version of a range will do: it is under BSD-3-Clause, with parts of others under licences
of theirs. attnlag itself is under the [MIT licence](../LICENSE).

| package | version | licence |
|---|---|---|
"""
# A longer field is the text of a licence, not its name.
LONGEST_NAME = 60


def pinned(requirements: Path) -> list[tuple[str, str]]:
    """Return the names and versions of the packages of a list that are pinned, in its order."""
    lines = requirements.read_text(encoding="utf-8").splitlines()
    found = (re.fullmatch(r"([\w.-]+)==(\S+)", line) for line in lines)
    return [(match[1], match[2]) for match in found if match]


def licence_of(package: metadata.Distribution) -> str:
    """Return what a package states: an expression, a short name, classifiers, or a file's title."""
    stated = package.metadata
    if stated["License-Expression"]:
        return stated["License-Expression"]
    name = (stated["License"] or "").strip()
    if name and "\n" not in name and len(name) <= LONGEST_NAME:
        return name
    classifiers = [c for c in stated.get_all("Classifier", []) if c.startswith("License ::")]
    if classifiers:
        return ", ".join(classifier.split(" :: ")[-1] for classifier in classifiers)
    for file in sorted(package.files or [], key=str):
        # The package may have files of such names among its own data.
        if ".dist-info" in str(file) and file.name.upper().startswith(("LICENSE", "LICENCE")):
            lines = filter(None, map(str.strip, file.read_text(encoding="utf-8").splitlines()))
            return next(lines, "not stated")
    return "not stated"


def licences(requirements: Path) -> str:
    """Return the list in Markdown; a package that is not installed ends the program."""
    rows, missing = [], []
    for name, version in pinned(requirements):
        try:
            rows.append(f"| {name} | {version} | {licence_of(metadata.distribution(name))} |")
        except metadata.PackageNotFoundError:
            missing.append(f"error: {requirements}: {name} is not installed; run 'make' first")
    if missing:
        sys.exit("\n".join(missing))
    return HEADER + "\n".join(rows) + "\n"


def pages(root: Path) -> dict[Path, str]:
    """Return what the list should hold, by its path."""
    return {root / "docs" / "licences.md": licences(root / "requirements.txt")}


if __name__ == "__main__":
    write_or_check(__doc__, pages)
