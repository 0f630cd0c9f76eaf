"""Digests of the code that computes a stage's numbers, so that a change in it reruns the stage.

A digest covers the modules of the packages that compute, as far as the stage's script imports
them, the figures that it draws, which it finds by name, and what lies beside such a module under
the same name: parts of a page. Of a module it covers what is executed, without comments, docstrings
and the texts of errors and log messages.
What only reads, writes, names, explains or reports (``errors.py``, ``config/``, ``pipeline/``,
``storage/``, the script itself) is no part of it, and neither is the version.
"""

import ast
import functools
import hashlib
from pathlib import Path

from attnlag.figures.catalogue import drawn_by

COMPUTING = (
    *("adjustments", "corpus", "figures", "interventions", "model", "regression", "report"),
)

PAGES = (".css", ".html", ".js")


class _WithoutWords(ast.NodeTransformer):
    """Takes out of a module's tree what is said but not computed."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        said = isinstance(node.value, ast.Constant) or ast.unparse(node.value).startswith("log.")
        return None if said else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()


@functools.cache
def _read(source: bytes) -> tuple[frozenset[str], bytes]:
    """Return the names that a source imports from attnlag, and what it computes.

    Imports inside functions count; a name may be that of a module or of something in one.
    """
    tree = ast.parse(source)
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    own = {name.removeprefix("attnlag.") for name in found if name.startswith("attnlag.")}
    return frozenset(own), ast.dump(_WithoutWords().visit(tree)).encode()


def computing_modules(script: str | Path) -> list[Path]:
    """Return the files of the computing modules that a script imports, directly or not, sorted.

    They are read, not run. Modules of figures count for the script that draws them.
    """
    library = Path(script).parent / "attnlag"
    found = {figure.module for figure in drawn_by(Path(script).stem, library / "figures")}
    waiting = [Path(script), *found]
    while waiting:
        names, _ = _read(waiting.pop().read_bytes())
        parts = [name.split(".") for name in names]
        files = {
            library.joinpath(*part).with_suffix(".py") for part in parts if part[0] in COMPUTING
        }
        new = {file for file in files if file.is_file()} - found
        found |= new
        waiting += new
    return sorted(found)


def code_digest(script: str | Path) -> str:
    """Return the SHA-256 over the code that computes what a script makes.

    Names and contents count; where the checkout lies and when it was written do not.
    """
    digest = hashlib.sha256()
    for module in computing_modules(script):
        for path in [module, *filter(Path.exists, map(module.with_suffix, PAGES))]:
            source = path.read_bytes()
            # What counts of a module is its tree without words, of a part of a page all of it.
            content = _read(source)[1] if path == module else source
            name = path.relative_to(Path(script).parent).as_posix()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
