"""Digests of the code that computes a stage's numbers, so that a change in it reruns the stage.

A digest covers the modules of the packages that compute, as far as the stage's script imports
them, the figures that it draws, which it finds by name, and what lies beside such a module under
the same name: a page. Of a module it covers what is executed, without comments, docstrings
and the texts of errors and log messages.
What only reads, writes, names, explains or reports (``errors.py``, ``config/``, ``pipeline/``,
``storage/``, the script itself) is no part of it, and neither is the version.
"""

import ast
import functools
import hashlib
from pathlib import Path

from attnlag.figures.catalogue import drawn_by

COMPUTING = ("adjustments", "corpus", "figures", "model", "regression", "report")


class _WithoutWords(ast.NodeTransformer):
    """Takes out of a module's tree what is said but not computed."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST:
        said = isinstance(node.value, ast.Constant) or ast.unparse(node.value).startswith("log.")
        return ast.Pass() if said else node

    def visit_Raise(self, node: ast.Raise) -> ast.AST:
        return ast.Raise()


@functools.cache
def _imports(path: Path, library: Path) -> frozenset[Path]:
    """Return the files of the computing modules that a Python file imports, in functions too."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.ImportFrom):
            names = [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        parts = [name.split(".")[1:] for name in names if name.startswith("attnlag.")]
        found |= {
            library.joinpath(*part).with_suffix(".py") for part in parts if part[0] in COMPUTING
        }
    return frozenset(file for file in found if file.is_file())


def computing_modules(script: str | Path) -> list[Path]:
    """Return the files of the computing modules that a script imports, directly or not, sorted.

    They are read, not run. Modules of figures count for the script that draws them.
    """
    library = Path(script).parent / "attnlag"
    found = {figure.module for figure in drawn_by(Path(script).stem, library / "figures")}
    waiting = [Path(script), *found]
    while waiting:
        new = _imports(waiting.pop(), library) - found
        found |= new
        waiting += new
    return sorted(found)


@functools.cache
def _content(path: Path) -> bytes:
    """Return what counts of a file: of a module its tree without words, of others all."""
    content = path.read_bytes()
    if path.suffix != ".py":
        return content
    return ast.dump(_WithoutWords().visit(ast.parse(content))).encode()


def code_digest(script: str | Path) -> str:
    """Return the SHA-256 over the code that computes what a script makes.

    Names and contents count; where the checkout lies and when it was written do not.
    """
    digest = hashlib.sha256()
    for module in computing_modules(script):
        page = module.with_suffix(".html")
        for path in [module, page] if page.exists() else [module]:
            content = _content(path)
            name = path.relative_to(Path(script).parent).as_posix()
            digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
