"""List what a configuration names, and the figures of its runs with their paths.

With --figure, the arguments are printed with which snakemake makes one figure.
"""

import argparse
import json
import sys
from pathlib import Path

from attnlag.config.problems import check
from attnlag.config.reading import read_yaml
from attnlag.config.schema import Config
from attnlag.errors import UserError, nearest
from attnlag.figures import catalogue
from attnlag.figures.settings import ON_REQUEST
from attnlag.pipeline import outputs

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--configfile", type=Path, default=Path("config/config.yaml"))
parser.add_argument("--figure", help="name of a figure, or its beginning; empty: list the names")


def with_all_figures(config: Config) -> Config:
    """Return a configuration that also draws the figures on request."""
    figures = config.figures.model_copy(update={"also": list(ON_REQUEST)})
    return config.model_copy(update={"figures": figures})


def figure_paths(config: Config) -> dict[str, list[str]]:
    """Return the paths of each figure that a run draws, by the figure's name."""
    found: dict[str, list[str]] = {}
    for figure in catalogue.figures():
        paths = [
            path
            for path in outputs.targets(config)
            if Path(path).stem == figure.name and Path(path).suffix != ".html"
        ]
        if paths:
            found[figure.name] = paths
    return found


def listing(config: Config) -> str:
    """Return the names of a configuration, a section each, and its figures."""
    sections = {
        "models": list(config.models),
        "corpora": list(config.corpora),
        "sites": list(config.extraction.sites),
        "regressions": [
            f"{name}: outcome {regression.outcome}, lags {regression.lags}"
            + (f", leads {regression.leads}" if regression.leads else "")
            + f", fixed effects {regression.fixed_effects}"
            for name, regression in config.regressions.items()
        ],
    }
    lines = []
    for title, names in sections.items():
        lines += [title, *(f"  {name}" for name in names)]
    lines.append("figures")
    drawn = figure_paths(config)
    for name, paths in drawn.items():
        lines += [f"  {name}", *(f"    {path}" for path in paths)]
    others = [name for name in figure_paths(with_all_figures(config)) if name not in drawn]
    if others:
        lines += ["on request (make figure FIGURE=…)", *(f"  {name}" for name in others)]
    return "\n".join(lines)


def main() -> None:
    args = parser.parse_args()
    try:
        config, problems = check(read_yaml(args.configfile).values, [args.configfile])
        if config is None or problems:
            raise UserError(problems)
        if args.figure is None:
            print(listing(config))
            return
        paths = figure_paths(with_all_figures(config))
        chosen = [name for name in paths if args.figure and name.startswith(args.figure)]
        if not chosen:
            raise UserError(
                f"FIGURE: found '{args.figure}', expected {', '.join(paths)}"
                f"{nearest(args.figure, paths)}"
            )
        also = {*config.figures.also, *chosen} & set(ON_REQUEST)
        asked = json.dumps({"also": sorted(also)}, separators=(",", ":"))
        print("--config", f"figures={asked}", "--", *(p for name in chosen for p in paths[name]))
    except UserError as error:
        sys.exit("\n".join(error.problems))


if __name__ == "__main__":
    main()
