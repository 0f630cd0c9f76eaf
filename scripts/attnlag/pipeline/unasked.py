"""Results that a configuration does not ask for, as another one has left them.

A run neither reads nor changes them. They are told apart by the catalogue of outputs, so that files
of the user's are none of them.
"""

import fnmatch
import functools
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from attnlag.config.schema import Config
from attnlag.pipeline.analyses import ANALYSES
from attnlag.pipeline.outputs import OUTPUTS, pattern
from attnlag.quantities.catalogue import OPTIONAL


@functools.cache
def _patterns() -> tuple[re.Pattern[str], ...]:
    """Return the patterns of all files of results below ``results/``; tables are in Parquet too."""
    paths: dict[str, None] = {}
    for output in OUTPUTS:
        # Those of a paper are made on request.
        if output.path.startswith("results/") and not output.path.startswith("results/paper/"):
            path = output.path.removeprefix("results/")
            paths[path] = None
            if path.endswith(".csv"):
                paths[f"{path.removesuffix('.csv')}.parquet"] = None
    return tuple(pattern(path) for path in paths)


def is_wanted(path: str, config: Config) -> bool | None:
    """Return whether a configuration asks for a result, None for what is no result.

    The path is relative to the folder of results.
    """
    is_result = False
    for form in _patterns():
        match = form.fullmatch(path)
        if match is None:
            continue
        is_result = True
        # A folder such as heads/ of a site also has the form of a regression's.
        if _names_exist(match.groupdict(), config):
            return not _is_left_out(path, config)
    return False if is_result else None


def _names_exist(names: Mapping[str, str | None], config: Config) -> bool:
    """Return whether a configuration has the model, the corpus and so on of a path."""
    existing: dict[str, Collection[str]] = {
        "model": config.models,
        "corpus": config.corpora,
        "site": config.extraction.sites,
        "regression": config.regressions,
        "pair": config.pairs_changed(),
    }
    for name, valid in existing.items():
        value = names.get(name)
        if value is not None and value not in valid:
            return False
    return True


def _is_left_out(path: str, config: Config) -> bool:
    """Return whether a result is of an analysis or a quantity that is not asked for."""
    first, *below = Path(path).parts
    if first == "comparison":
        return not ANALYSES["comparison"].asked(config)
    # From the folder of the corpus on.
    places = ["/".join(below[1:end]) for end in range(2, len(below) + 1)]
    for analysis in ANALYSES.values():
        if analysis.asked(config):
            continue
        for form in analysis.places:
            if fnmatch.filter(places, form):
                return True
    if _is_by_class(below[1:]):
        regression = config.regressions.get(below[2])
        return regression is None or not regression.slopes_by
    unmeasured = {name for name in OPTIONAL if not config.measures(name)}
    if config.extraction.keep == "norms":
        unmeasured |= {"activations", "sums"}
    return not unmeasured.isdisjoint(below[1:3])


def _is_by_class(below: list[str]) -> bool:
    """Return whether a result of a regression is one by class of tokens."""
    by_class = ("classes", "class_crossproducts", "equal_slopes", "nested_models", "thirds")
    return len(below) > 2 and below[2].partition(".")[0] in by_class


def unasked_files(config: Config, results: Path = Path("results")) -> Iterator[Path]:
    """Yield the results in a folder that a configuration does not ask for, sorted."""
    for path in sorted(results.rglob("*")):
        if path.is_file() and is_wanted(path.relative_to(results).as_posix(), config) is False:
            yield path


def unasked_places(config: Config, results: Path = Path("results")) -> list[Path]:
    """Return the same as few places: a folder where it has nothing else, else single files."""
    unasked = set(unasked_files(config, results))
    places: dict[Path, None] = {}
    for path in sorted(unasked):
        place = path
        for folder in path.parents:
            if folder == results or not _visible_files(folder) <= unasked:
                break
            place = folder
        places[place] = None
    return list(places)


def _visible_files(folder: Path) -> set[Path]:
    """Return the files below a folder without Snakemake's own, whose names begin with a dot."""
    files = folder.rglob("*")
    return {path for path in files if path.is_file() and not path.name.startswith(".")}
