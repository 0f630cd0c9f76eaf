"""Digests of the code that a stage runs, so that a change in it is a reason to run again."""

import ast
import functools
import hashlib
from pathlib import Path


@functools.cache
def _imports(content: bytes) -> frozenset[str]:
    """Return the names, of modules perhaps, that a source imports from attnlag."""
    found: set[str] = set()
    waiting: list[ast.AST] = [*ast.parse(content).body]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.ImportFrom) and node.module == "attnlag":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and "attnlag." in node.module:
            found.add(node.module.removeprefix("attnlag."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("attnlag.") for alias in node.names}
        else:
            # No expression has an import in it, and most of a source is expressions.
            for block in ("body", "handlers", "orelse", "finalbody", "cases"):
                inner = getattr(node, block, None)
                waiting += inner if isinstance(inner, list) else []
    return frozenset(found)


def imported_modules(script: str | Path) -> list[Path]:
    """Return the files of the attnlag modules that a script imports, directly or not, sorted.

    Read from the source, so that nothing is executed: imports inside functions count too.
    """
    package = Path(script).parent / "attnlag"
    found: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        names = _imports(waiting.pop().read_bytes())
        files = {package / f"{name}.py" for name in names}
        files = {path for path in files if path.exists()} - found
        found |= files
        waiting += files
    return sorted(found | {package / "__init__.py"})


def code_digest(script: str | Path) -> str:
    """Return the SHA-256 over a script and the library modules that it imports.

    What lies beside a module under the same name, a page or a style, is part of it. File names and
    contents count; where the checkout lies and when it was written do not.
    """
    digest = hashlib.sha256()
    modules = [Path(script), *imported_modules(script)]
    beside = [path.with_suffix(suffix) for path in modules for suffix in (".html", ".mplstyle")]
    for path in [*modules, *(part for part in beside if part.exists())]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
