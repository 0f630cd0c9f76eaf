"""Imports point down the packages, and what a plan imports needs no slow library."""

import ast
import sys

from projects import ROOT, ran

# From the library's face down: a package imports only from those after it.
ORDER = (
    *("study", "pipeline", "config", "report", "figures", "wording", "claims", "interventions"),
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
    for path in library.rglob("*.py"):
        package = path.relative_to(library).parts[0].removesuffix(".py")
        if package != "__init__":
            above = [n for n in packages_in(path.read_text()) if places[n] < places[package]]
            assert not above, f"{path.relative_to(ROOT)} imports from {above}"


# One interpreter imports them in this order, so none may load what a later one may not.
LIGHT = {
    "attnlag.regression.design.covariates": {"numpy", "pandas", "pyarrow", "scipy"},
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
