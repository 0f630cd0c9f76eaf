"""List what a configuration names, and the figures of its runs with their paths.

``python -m attnlag.pipeline.listing`` is what ``make list`` runs. With --figure, it prints the
arguments with which snakemake makes one figure, for ``make figure``.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from attnlag.config.problems import check
from attnlag.config.reading import read_yaml
from attnlag.config.schema import Config
from attnlag.errors import UserError, nearest
from attnlag.figures import catalogue
from attnlag.figures.settings import ON_REQUEST
from attnlag.pipeline import outputs


def figure_paths(config: Config) -> dict[str, list[str]]:
    """Return the paths of each figure, of those on request too, by the figure's name."""
    figures = config.figures.changed(also=list(ON_REQUEST))
    paths: dict[str, list[str]] = {figure.name: [] for figure in catalogue.figures()}
    for path in map(Path, outputs.targets(config.changed(figures=figures))):
        if path.stem in paths and path.suffix != ".html":
            paths[path.stem].append(str(path))
    return {name: files for name, files in paths.items() if files}


def lines(config: Config) -> Iterator[str]:
    """Yield the names in a configuration, section by section, and its figures."""
    regressions = [
        f"{name}: outcome {regression.outcome}, lags {regression.lags}"
        + (f", leads {regression.leads}" if regression.leads else "")
        + f", fixed effects {regression.fixed_effects}"
        for name, regression in config.regressions.items()
    ]
    for title, names in (
        ("models", config.models),
        ("corpora", config.corpora),
        ("sites", config.extraction.sites),
        ("regressions", regressions),
    ):
        yield from (title, *(f"  {name}" for name in names))
    drawn = set(outputs.targets(config))
    yield "figures"
    on_request = []
    for name, paths in figure_paths(config).items():
        if paths[0] in drawn:
            yield from (f"  {name}", *(f"    {path}" for path in paths))
        else:
            on_request.append(f"  {name}")
    if on_request:
        yield from ("on request (make figure FIGURE=…)", *on_request)


def arguments_for(figure: str, config: Config) -> list[str]:
    """Return the arguments of snakemake for the figures whose names begin with a text."""
    paths = figure_paths(config)
    names = [name for name in paths if figure and name.startswith(figure)]
    if not names:
        raise UserError(
            f"FIGURE: found '{figure}', expected {', '.join(paths)}{nearest(figure, paths)}"
        )
    also = sorted({*config.figures.also, *names} & set(ON_REQUEST))
    asked = json.dumps({"also": also}, separators=(",", ":"))
    return ["--config", f"figures={asked}", "--", *(path for name in names for path in paths[name])]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"))
    parser.add_argument("--figure", help="name of a figure, or its beginning")
    arguments = parser.parse_args()
    try:
        config, problems = check(read_yaml(arguments.configfile).values, [arguments.configfile])
        if config is None or problems:
            raise UserError(problems)
        if arguments.figure is None:
            print(*lines(config), sep="\n")
        else:
            print(*arguments_for(arguments.figure, config))
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
