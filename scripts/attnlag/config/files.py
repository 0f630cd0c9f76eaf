"""The files and models on this machine that a configuration names."""

import contextlib
import glob
import json
from pathlib import Path
from typing import Any

from attnlag.errors import nearest, printable, unreadable


def files_matching(pattern: str) -> list[str]:
    """Return the files that a glob matches, sorted; what is no glob stands for itself."""
    if not glob.has_magic(pattern) or Path(pattern).exists():
        return [str(Path(pattern))]
    # pathlib's own takes no absolute pattern, and it takes hidden files.
    matches = map(Path, glob.glob(pattern, recursive=True))
    return sorted(str(path) for path in matches if not path.is_dir())


def file_problem(pattern: str) -> str | None:
    """Return what is wrong with a file or glob of a corpus, without its content being read."""
    files = [Path(file) for file in files_matching(pattern)]
    if not files:
        return f"{pattern!r} matches no file"
    for file in files:
        if problem := name_problem(file):
            return problem
        if problem := unreadable(file):
            or_glob = f" or a glob, as in {str(file / '*.txt')!r}" if file.is_dir() else ""
            return f"{str(file)!r}: {problem}{or_glob}{file_alike(file)}"
    return None


def file_alike(file: Path) -> str:
    """Return ``"; did you mean 'x'?"`` for a missing file if a name beside it is like its own."""
    if file.exists() or not file.parent.is_dir():
        return ""
    return nearest(file.name, [path.name for path in file.parent.iterdir() if path.is_file()])


def name_problem(path: str | Path) -> str | None:
    """Return what keeps Snakemake from handing a file to a job by its name, or None."""
    name = str(path)
    # It puts the name of a corpus or model in place of {corpus} or {model}.
    if printable(name) != name or {"{", "}"} <= set(name):
        return (
            f"the name {name!r} has characters that cannot be printed, or braces, which mark "
            "wildcards; expected another name"
        )
    return None


def model_problem(path: Path) -> str | None:
    """Return what is wrong with a model on this machine, without its weights being looked at."""
    if problem := name_problem(path):
        return problem
    if path.suffix == ".gguf" and path.is_file():
        return None
    if json_object(path / "config.json") is None:
        return (
            f"'{path}' has no config.json that holds a JSON object, expected a Hugging Face folder "
            "or a .gguf file"
        )
    return None


def json_object(file: Path) -> dict[str, Any] | None:
    """Return the object in a JSON file; None if there is none."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        value = json.loads(file.read_text(encoding="utf-8"))
        return value if isinstance(value, dict) else None
    return None
