"""Digests of the code that computes a stage's numbers, so that a change in it reruns the stage.

A digest covers the modules in the computing packages that the stage's script imports, the figures
that it draws, and the parts of a page that lie beside a module and begin with its name. It covers
the executed code of a module without comments, docstrings and texts of errors and log messages.
The script itself counts, because it may compute. Modules that only read, write, name, explain or
report (``errors.py``, ``config/``, ``pipeline/``, most of ``storage/``) do not, nor do the version
and the ``settings.py`` of a package, whose values are parameters of the rules.
"""

import ast
import functools
import hashlib
import re
import sys
from pathlib import Path
from typing import Any

from attnlag.figures.catalogue import drawn_by, figures
from attnlag.storage.contents import recalled, remember

# Packages and single modules that compute numbers or words.
COMPUTING = (
    *("claims", "corpus", "figures", "interventions", "model", "quantities", "regression"),
    *("report", "storage/sequences.py", "storage/sums.py"),
)

# A module that imports others by their names in a catalogue beside it, such as "geometry.Geometry".
BY_NAME, NAMES = "quantities/extraction.py", "quantities/catalogue.py"

# Part of every digest. Raise it when `storage/` writes files that others would read differently.
FILE_FORMAT = 1

PAGES = (".bib", ".css", ".html", ".j2", ".js", ".md")

# Only the folders of runs have Snakemake's own; elsewhere nothing is remembered.
MEMORY = Path(".snakemake/attnlag.code.json")


def _computes_nothing(node: ast.AST) -> bool:
    """Return whether a node is a docstring, a log message, or imports for annotations."""
    if isinstance(node, ast.If):
        return getattr(node.test, "id", None) == "TYPE_CHECKING"
    if not isinstance(node, ast.Expr):
        return False
    value = node.value
    while isinstance(value, ast.Call | ast.Attribute):
        if isinstance(value, ast.Attribute) and value.attr == "log":
            return True
        value = value.func if isinstance(value, ast.Call) else value.value
    return isinstance(value, ast.Constant) or (isinstance(value, ast.Name) and value.id == "log")


def _collect(value: Any, imported: set[str], computed: list[str]) -> None:
    """Add the imported names and the executed code of a part of a syntax tree.

    A change of code makes Snakemake read all modules, so this traverses a tree only once.
    """
    if isinstance(value, list):
        computed.append("[")
        for node in value:
            _collect(node, imported, computed)
        computed.append("]")
    elif not isinstance(value, ast.AST):
        computed.append(repr(value))
    elif not _computes_nothing(value):
        if isinstance(value, ast.ImportFrom):
            module = value.module or ""
            imported.update([module, *(f"{module}.{alias.name}" for alias in value.names)])
        elif isinstance(value, ast.Import):
            imported.update(alias.name for alias in value.names)
        computed.append(type(value).__name__)
        # The texts of errors are not covered.
        for field in () if isinstance(value, ast.Raise) else value._fields:
            _collect(getattr(value, field, None), imported, computed)


@functools.cache
def _read(source: bytes) -> tuple[frozenset[str], bytes]:
    """Return the computing modules that a source may import, and its executed code.

    The modules are files in the library's folder, such as ``corpus/formats.py``. Imports inside
    functions count; a name that belongs to an object in a module has no file.
    """
    imported: set[str] = set()
    computed: list[str] = []
    _collect(ast.parse(source), imported, computed)
    names = (name.split(".")[1:] for name in imported if name.startswith("attnlag."))
    modules = {(name[0], "/".join(name) + ".py") for name in names if name[-1] != "settings"}
    files = {file for package, file in modules if {package, file} & {*COMPUTING}}
    return frozenset(files), " ".join(computed).encode()


def computing_modules(script: str | Path) -> list[Path]:
    """Return a script and the files of the computing modules that it needs, sorted.

    These are imported, directly or not; the modules are parsed, not run. The stages that draw share
    a script that computes nothing, so theirs are the modules of their figures and what saves them.
    """
    script = Path(script)
    library = script.parent / "attnlag"
    figures = {figure.module for figure in drawn_by(script.stem, library / "figures")}
    modules = figures | {library / "figures/files.py"} if figures else {script}
    waiting = list(modules)
    followed: set[str] = set()
    while waiting:
        module = waiting.pop()
        names, _ = _read(module.read_bytes())
        if module == library / BY_NAME:
            named = re.findall(r'"(\w+)\.[A-Z]\w*"', (library / NAMES).read_text("utf-8"))
            names |= {str(Path(NAMES).with_name(f"{name}.py")) for name in named}
        new = {file for file in map(library.joinpath, names - followed) if file.is_file()} - modules
        followed |= names
        modules |= new
        waiting += new
    return sorted(modules)


def code_digest(script: str | Path) -> str:
    """Return the SHA-256 over the code that computes the outputs of a script.

    Names and contents count; the location and the time stamps of the checkout do not.
    """
    digest = hashlib.sha256(f"format {FILE_FORMAT}\n".encode())
    for module in computing_modules(script):
        beside = module.parent.glob(f"{module.stem}.*")
        for path in [module, *sorted(path for path in beside if path.suffix in PAGES)]:
            source = path.read_bytes()
            # A module counts with its executed code, a part of a page with its whole text.
            content = _read(source)[1] if path == module else source
            name = path.relative_to(Path(script).parent).as_posix()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def code_digests(scripts: Path) -> dict[str, str]:
    """Return `code_digest` of each stage by its name, remembered until a file of code changes.

    To parse all modules takes as long as Snakemake takes for a hundred jobs.
    """
    state = hashlib.sha256(sys.version.encode())
    for path in sorted(scripts.rglob("*")):
        if path.suffix in (".py", *PAGES):
            content = path.read_bytes()
            state.update(f"{path.relative_to(scripts)} {len(content)}\n".encode() + content)
    memory = recalled(MEMORY)
    if memory.get("state") == state.hexdigest():
        return memory["digests"]
    stages = {path.stem for path in scripts.glob("*.py")}
    stages.update(figure.drawn_by for figure in figures(scripts / "attnlag/figures"))
    digests = {stage: code_digest(scripts / f"{stage}.py") for stage in sorted(stages)}
    remember({"state": state.hexdigest(), "digests": digests}, MEMORY)
    return digests
