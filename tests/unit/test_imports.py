"""Imports point down the packages, and what a plan imports needs no slow library."""

import ast
import itertools
import re
import sys
import tomllib

import pytest
from projects import ROOT, ran

# From the library's face down: a package imports only from those after it.
ORDER = (
    *(
        "study",
        "pipeline",
        "config",
        "report",
        "figures",
        "wording",
        "fields",
        "claims",
        "interventions",
    ),
    *("regression", "quantities", "corpus", "model", "storage", "section", "escaping", "errors"),
)


def packages_in(source: str) -> set[str]:
    """Return the packages of the library that a module imports from, wherever it does."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return {
        name.split(".")[1] for name in names if name.startswith("attnlag.") and "__" not in name
    }


def test_imports_point_down():
    places = {name: place for place, name in enumerate(ORDER)}
    library = ROOT / "scripts/attnlag"
    above = {}
    for path in library.rglob("*.py"):
        package = path.relative_to(library).parts[0].removesuffix(".py")
        if package != "__init__":
            imported = packages_in(path.read_text())
            above[path] = [name for name in imported if places[name] < places[package]]
    assert {path: names for path, names in above.items() if names} == {}


# One interpreter imports them in this order, so none may load what a later one may not.
LIGHT = {
    "attnlag.regression.covariates": {"numpy", "pandas", "pyarrow", "scipy"},
    "attnlag.figures.catalogue": {"matplotlib", "numpy", "pandas", "seaborn"},
    "attnlag.quantities.norms": {"torch", "transformers"},
    "attnlag.model.folder": {"torch", "transformers", "huggingface_hub", "safetensors"},
    "attnlag.report.findings": {"scipy.stats"},
}


def test_light_modules_import_no_slow_library():
    code = ["import sys"]
    for module, slow in LIGHT.items():
        code += [f"import {module}", f"print('{module}', {slow} & set(sys.modules))"]
    found = ran([sys.executable, "-c", "\n".join(code)], cwd=ROOT / "scripts").stdout
    assert found.splitlines() == [f"{module} set()" for module in LIGHT]


# Packages whose modules have another name.
DISTRIBUTIONS = {"PIL": "pillow", "yaml": "pyyaml"}
# The folders with code of the project's own.
PARTS = ("scripts", "tests", "docs", "benchmarks")
# Other libraries that benchmarks look at with --peers, in environments of their own.
PEERS = {"nnsight", "pyfixest", "transformer_lens"}


def distributions_in(folder):
    """Return the distributions that the programs below a folder import, with a file that does."""
    own = {path.stem for part in PARTS for path in (ROOT / part).rglob("*.py")}
    found = {}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                name = name.partition(".")[0]
                if name in sys.stdlib_module_names or name in ("attnlag", *own):
                    continue
                name = DISTRIBUTIONS.get(name, name).replace("_", "-").lower()
                found[name] = str(path.relative_to(ROOT))
    return found


def declared(*extras_of_library):
    """Return the packages of the project: those of all users with some extras, and of extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def names(requirements):
        return {re.match(r"[\w-]+", each)[0].replace("_", "-").lower() for each in requirements}

    of_library = [*project["dependencies"], *itertools.chain(*map(extras.get, extras_of_library))]
    return names(of_library), names(itertools.chain(*extras.values()))


def test_what_the_library_imports_is_declared():
    """Parts of speech need another extra."""
    needed, _ = declared("model", "workflow")
    found = distributions_in("scripts")
    own = {"snakemake-logger-plugin-attnlag"}
    missing = {name: found[name] for name in found.keys() - needed - own - {"spacy"}}
    assert missing == {}
    assert len(found) > 15


@pytest.mark.parametrize("folder", ["tests", "docs", "benchmarks"])
def test_what_developers_import_is_declared(folder):
    needed, extra = declared()
    found = distributions_in(folder)
    own = {"snakemake-logger-plugin-attnlag", *(name.replace("_", "-") for name in PEERS)}
    assert {name: found[name] for name in found.keys() - needed - extra - own} == {}
