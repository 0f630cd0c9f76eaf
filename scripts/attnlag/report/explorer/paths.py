"""Where the tables lie that numbers of the page come from."""

from pathlib import Path

from attnlag.claims.results import RegressionResults


def path_in_results(path: Path) -> str:
    """Return the path of a table relative to the folder of the page."""
    place = max((at for at, name in enumerate(path.parts) if name == "results"), default=-1)
    return "/".join(path.parts[place + 1 :])


def tables_of(regression: RegressionResults, folder: Path, *names: str) -> list[str]:
    """Return the paths of declared tables below a folder, in CSV."""
    found = []
    for name in names:
        if regression.has(name, folder):
            path = regression.path(name, folder)
            found.append(path_in_results(path.with_suffix(".csv")))
    return found


def folder_of(regression: RegressionResults, name: str, folder: Path) -> list[str]:
    """Return the folder of a table with a file for each shard; [] without it."""
    paths = regression.paths(name, folder)[:1]
    return [f"{path_in_results(path.parent)}/" for path in paths]
