"""The files of a run by the names that rules declare, for calls of what rules call."""

from pathlib import Path

from attnlag.report.regression_tables import RegressionTables, declared

NAMED = {"heads": "head_norms", "readout": "readout_rows"}


def files_in(results: Path) -> dict[str, list[Path]]:
    """Return the files below a folder of results by the names that the rules give them."""
    files: dict[str, list[Path]] = {}
    for path in sorted(results.rglob("*")):
        name = path.stem
        if path.stem.isdigit():
            name = NAMED.get(path.parent.name, path.parent.name)
        elif path.parent.name == "corpora":
            name = "corpora"
        elif path.stem == "means":
            name = {"geometry": "directions"}.get(path.parent.name, path.parent.name)
        if path.suffix in (".parquet", ".json"):
            files.setdefault(name, []).append(path)
    return files


def regressions_in(results: Path, *names: str) -> list[RegressionTables]:
    """Return the regressions of a folder of results, perhaps some by name and in this order."""
    found = {regression.name: regression for regression in declared(**files_in(results))}
    return [found[name] for name in names or found]
