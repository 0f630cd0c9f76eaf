"""The files of a run, compared with the catalogue of outputs."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from attnlag.pipeline.outputs import OUTPUTS, PATTERNS, Output


def matches(described: str, name: str) -> bool:
    """Return whether a name or path matches a described one with placeholders."""
    words = re.split(r"(\{\w+\}|NN|TERM)", described)
    patterns = [
        PATTERNS.get(w, r"[^/]+") if w in PATTERNS or "{" in w else re.escape(w) for w in words
    ]
    return re.fullmatch("".join(patterns), name) is not None


def describing(path: str) -> list[Output]:
    """Return what describes a file, or the figures that are in a folder.

    Tables in two formats are described once.
    """
    names = {path, re.sub(r"\.parquet$", ".csv", path)}
    return [
        output
        for output in OUTPUTS
        if any(matches(output.path, name) for name in names)
        or (output.figure and matches(output.folder, path))
    ]


def columns_of(file: Path) -> list[str]:
    """Return the columns of a table or the keys of a JSON file; nothing for other files."""
    if file.suffix == ".parquet":
        return list(pq.read_schema(file).names)
    if file.suffix == ".csv":
        return list(pd.read_csv(file, nrows=0).columns)
    return list(json.loads(file.read_text(encoding="utf-8"))) if file.suffix == ".json" else []


def undescribed(project: Path) -> Iterator[str]:
    """Yield the files below ``results/``, and their columns, that have no description."""
    for file in sorted(path for path in (project / "results").rglob("*") if path.is_file()):
        path = str(file.relative_to(project))
        found = describing(path)
        if not found and not file.name.startswith("."):
            yield path
        for column in columns_of(file) if found else []:
            if not any(matches(name, column) for name in found[0].column_names()):
                yield f"{path}: {column}"
