"""The sheets that the explorer draws: those of figures, from the tables of a run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from attnlag.claims.results import RegressionResults
from attnlag.figures import (
    coefficients_by_layer,
    coefficients_by_step,
    elasticities_by_layer,
    groups_by_layer,
    heads_by_layer,
    inputs,
    norms_by_part_of_speech,
    readout_by_layer,
    sampling,
    slopes_by_class,
    sources_by_layer,
)
from attnlag.figures.as_json import as_json
from attnlag.figures.templates import Sheet
from attnlag.report.explorer.paths import folder_of, tables_of

# A sheet as JSON, with the tab that shows it and the paths of its tables.
Entry = dict[str, Any]


@dataclass(frozen=True)
class Shown:
    """A figure that the page shows if a run has its tables.

    Parameters
    ----------
    tab, name : str
        The tab, and the name of the sheet within it.
    tables : mapping
        The names of its declared tables, by those of the inputs of ``read``.
    read : callable
        What reads them, as for the files of the figure.
    figure : module
        What makes a sheet of them.
    """

    tab: str
    name: str
    tables: Mapping[str, str]
    read: Callable[..., inputs.Inputs]
    figure: ModuleType


CLASSES = Shown(
    "kinds",
    "slopes",
    {"classes": "classes", "equal_slopes": "equal_slopes"},
    inputs.read_classes,
    slopes_by_class,
)
TRAINING = Shown(
    "training",
    "training",
    {"training": "training", "training_layers": "training_layers"},
    inputs.read_training,
    coefficients_by_step,
)
HEADS = Shown(
    "heads",
    "heads",
    {"heads": "heads", "head_coefficients": "head_coefficients"},
    inputs.read_heads,
    heads_by_layer,
)
EFFECTS = Shown(
    "causes",
    "causes",
    {"total_effects": "total_effects", "elasticities": "elasticities"},
    inputs.read_effects,
    elasticities_by_layer,
)
SOURCES = Shown(
    "sources",
    "shares",
    {"shares": "shares", "lags": "lags"},
    inputs.read_sources,
    sources_by_layer,
)
READOUT = Shown("sources", "readout", {"readout": "readout"}, inputs.read_sources, readout_by_layer)


def entry(
    tab: str, name: str, sheet: Sheet, mixers: Mapping[str, str], tables: list[str]
) -> list[Entry]:
    """Return a sheet with its place in the page; nothing if it has no panels."""
    if not sheet.panels:
        return []
    return [{"tab": tab, "name": name, "tables": tables, **as_json(sheet, mixers)}]


def entry_of(
    shown: Shown,
    regression: RegressionResults,
    folder: Path,
    settings: Mapping[str, Any] | None = None,
    heading: str = "",
) -> list[Entry]:
    """Return the sheet of a figure from its tables in a folder; nothing without any of them.

    ``heading`` stands before its claim.
    """
    files = {}
    for name, table in shown.tables.items():
        if not regression.has(table, folder):
            return []
        files[name] = regression.path(table, folder)
    names = SimpleNamespace(regression=regression.name)
    given = SimpleNamespace(**files)
    if shown.read is inputs.read_sources:
        # Either may be unknown.
        given = SimpleNamespace(**{"shares": [], "lags": []} | files)
        given.readout = regression.paths("readout", folder)
    read = shown.read(given, names, settings)
    sheet = shown.figure.figure(read)
    sheet.claim = f"{heading}{sheet.claim}"
    tables = tables_of(regression, folder, *shown.tables.values())
    return entry(shown.tab, shown.name, sheet, read.mixers, tables)


def sheets_of_regression(regression: RegressionResults) -> list[Entry]:
    """Return the coefficients of a regression, also by group, class of tokens and checkpoint."""
    folder = regression.folder
    read = inputs.read_coefficients(
        regression,
        SimpleNamespace(regression=regression.name),
        controls=regression.controls,
        medians=regression.table("medians"),
        groups=regression.table("groups"),
    )
    sheets = []
    if regression.terms:
        sheet = coefficients_by_layer.figure(read)
        tables = tables_of(regression, folder, "coefficients", "fits", "controls")
        sheets += entry("coefficients", "coefficients", sheet, read.mixers, tables)
    if len(read.groups):
        sheet = groups_by_layer.figure(read)
        tables = tables_of(regression, folder, "groups")
        sheets += entry("coefficients", "groups", sheet, read.mixers, tables)
    # The tab shows the slopes of all regressions.
    heading = f"Regression {regression.name}: "
    slopes = replace(CLASSES, name=f"slopes-{regression.name}")
    sheets += entry_of(slopes, regression, folder, heading=heading)
    settings = {"equivalence_bound": regression.settings["equivalence_bound"]}
    return sheets + entry_of(TRAINING, regression, folder, settings)


def sheets_of_site(regression: RegressionResults) -> list[Entry]:
    """Return what does not depend on the regression, given any of the site."""
    site = regression.site_folder
    return [
        *_parts_of_speech(regression),
        *entry_of(HEADS, regression, site),
        *_effects(regression),
        *entry_of(SOURCES, regression, site),
        *entry_of(READOUT, regression, site),
    ]


def _parts_of_speech(regression: RegressionResults) -> list[Entry]:
    properties = regression.paths("token_properties", regression.study_folder)
    if not properties:
        return []
    given = SimpleNamespace(
        norms=regression.paths("norms", regression.site_folder),
        stream=regression.paths("stream", regression.study_folder),
        properties=properties,
    )
    names = SimpleNamespace(site=regression.site)
    settings = {"drop_first": regression.record.settings("design")["drop_first"]}
    norms = sampling.read_norms(given, names, settings)
    sheet = norms_by_part_of_speech.figure(norms)
    tables = folder_of(regression, "norms", regression.site_folder)
    return entry("kinds", "means", sheet, norms.mixers, tables)


def _effects(regression: RegressionResults) -> list[Entry]:
    """Return a sheet for each site whose changes were observed at this one, itself first."""
    folder = regression.study_folder
    if not regression.has("total_effects", folder):
        return []
    pairs = regression.table("total_effects", folder)
    sources = pairs.loc[pairs["target_site"] == regression.site, "source_site"].unique().tolist()
    sources.sort(key=lambda name: name != regression.site)
    sheets = []
    for source in sources:
        settings = {"source": source, "target": regression.site}
        heading = f"{source} to {regression.site}: " if len(sources) > 1 else ""
        shown = replace(EFFECTS, name=f"causes-{source}")
        sheets += entry_of(shown, regression, folder, settings, heading)
    return sheets
