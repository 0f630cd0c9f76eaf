"""Write docs/licences.md: the licences that the packages of attnlag state, where not permissive.

Each package is looked up in the environment that runs this program. With --check, nothing is
written: a list that is not up to date is named, and the exit status is 1.
"""

import re
from importlib import metadata

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from attnlag.pipeline.generated_pages import write_or_check

HEADER = """\
# Licences of the packages

attnlag is under the [MIT licence](../LICENSE). Of its packages and those of its default run, in the
versions of `requirements.txt`, {permissive} state permissive licences (MIT, BSD, Apache and the
like); the others are below. torch, of which a range of versions is allowed, is under BSD-3-Clause,
with parts under other licences. `python scripts/describe_licences.py` generates this page, and
`make lint` checks it.

The models have licences of their own. SmolLM2-135M-Instruct is under Apache-2.0. Gemma 3 270M is
under [terms of use](https://ai.google.dev/gemma/terms), which the packages with its weights do not
state; `make models` fetches it once `accept_terms` says that you accept them.

"""
# Beginnings of the names of permissive licences.
PERMISSIVE = re.compile(
    r"(2-clause )?(MIT|0?BSD|Apache|ISC|PSF|Python Software|Zlib|CC0|CNRI|Public Domain)"
)
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
        return "; ".join(classifier.split(" :: ")[-1] for classifier in classifiers)
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
    lines = []
    for name in packages:
        licence = licence_of(metadata.distribution(name))
        if not all(map(PERMISSIVE.match, re.split(r"; | AND | OR ", licence))):
            lines.append(f"- {name}: {licence}\n")
    return HEADER.format(permissive=len(packages) - len(lines)) + "".join(lines)


if __name__ == "__main__":
    write_or_check(__doc__, lambda root: {root / "docs" / "licences.md": page()})
