"""Digests of the code that a stage runs, so that a change in it is a reason to run again."""

import ast
import hashlib
from pathlib import Path


def imported_modules(script: str | Path) -> list[Path]:
    """Return the files of the attnlag modules that a script imports, directly or not, sorted.

    Read from the source, so that nothing is executed: imports inside functions count too.
    """
    package = Path(script).parent / "attnlag"
    found: set[Path] = set()
    waiting = [Path(script)]
    while waiting:
        for node in ast.walk(ast.parse(waiting.pop().read_bytes())):
            if isinstance(node, ast.ImportFrom) and node.module == "attnlag":
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module.removeprefix("attnlag.")] if "attnlag." in node.module else []
            elif isinstance(node, ast.Import):
                names = [alias.name.removeprefix("attnlag.") for alias in node.names]
                names = [name for name in names if (package / f"{name}.py").exists()]
            else:
                continue
            files = {package / f"{name}.py" for name in names} - found
            found |= files
            waiting += files
    return sorted(found | {package / "__init__.py"})


def code_digest(script: str | Path) -> str:
    """Return the SHA-256 over a script and the library modules that it imports.

    File names and contents count; where the checkout lies and when it was written do not.
    """
    digest = hashlib.sha256()
    for path in [Path(script), *imported_modules(script)]:
        content = path.read_bytes()
        digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
