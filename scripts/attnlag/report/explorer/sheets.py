"""The sheets that the explorer draws: those of figures, from the tables of a run."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from attnlag.claims.results import RegressionResults
from attnlag.figures import (
    coefficients_by_layer,
    coefficients_by_step,
    elasticities_by_layer,
    groups_by_layer,
    heads_by_layer,
    norms_by_part_of_speech,
    readout_by_layer,
    slopes_by_class,
    sources_by_layer,
)
from attnlag.figures.as_json import as_json
from attnlag.figures.inputs import Inputs
from attnlag.report.explorer.paths import folder_of, tables_of
from attnlag.storage.results import Declared

# A sheet as JSON, with the tab that shows it and the paths of its tables.
Entry = dict[str, Any]


def entry(
    tab: str, name: str, figure: ModuleType, inputs: Inputs, paths: list[str], heading: str = ""
) -> list[Entry]:
    """Return the sheet of a figure with its place in the page; nothing if it has no panels.

    ``heading`` stands before its claim, and ``paths`` are those of its tables.
    """
    sheet = figure.figure(inputs)
    if not sheet.panels:
        return []
    sheet.claim = f"{heading}{sheet.claim}"
    return [{"tab": tab, "name": name, "tables": paths, **as_json(sheet, inputs.mixers)}]


def entry_of_tables(
    tab: str,
    name: str,
    figure: ModuleType,
    regression: RegressionResults,
    folder: Path,
    *needed: str,
    settings: Mapping[str, Any] | None = None,
    heading: str = "",
) -> list[Entry]:
    """Return the sheet of a figure from tables in a folder; nothing without any of them."""
    if not all(regression.has(table, folder) for table in needed):
        return []
    inputs = Inputs(folder, regression.declared, settings)
    paths = tables_of(regression, folder, *needed)
    return entry(tab, name, figure, inputs, paths, heading)


def sheets_of_regression(regression: RegressionResults) -> list[Entry]:
    """Return the coefficients of a regression, also by group, class of tokens and checkpoint."""
    folder = regression.folder
    inputs = Inputs(folder, regression.declared)
    sheets = []
    if regression.terms:
        paths = tables_of(regression, folder, "coefficients", "fits", "controls")
        sheets += entry("coefficients", "coefficients", coefficients_by_layer, inputs, paths)
    if len(regression.table("groups")):
        paths = tables_of(regression, folder, "groups")
        sheets += entry("coefficients", "groups", groups_by_layer, inputs, paths)
    sheets += entry_of_tables(
        "kinds",
        f"slopes-{regression.name}",
        slopes_by_class,
        regression,
        folder,
        "classes",
        "equal_slopes",
        # The tab shows the slopes of all regressions.
        heading=f"Regression {regression.name}: ",
    )
    sheets += entry_of_tables(
        "training",
        "training",
        coefficients_by_step,
        regression,
        folder,
        "training",
        "training_layers",
        settings={"equivalence_bound": regression.settings["equivalence_bound"]},
    )
    return sheets


def sheets_of_site(regression: RegressionResults) -> list[Entry]:
    """Return what does not depend on the regression, given any of the site."""
    site = regression.site_folder
    sheets = _parts_of_speech(regression)
    sheets += entry_of_tables(
        "heads", "heads", heads_by_layer, regression, site, "heads", "head_coefficients"
    )
    sheets += _effects(regression)
    sheets += entry_of_tables(
        "sources", "shares", sources_by_layer, regression, site, "shares", "lags"
    )
    sheets += entry_of_tables("sources", "readout", readout_by_layer, regression, site, "readout")
    return sheets


def _parts_of_speech(regression: RegressionResults) -> list[Entry]:
    properties = regression.paths("token_properties", regression.study_folder)
    if not properties:
        return []
    # The norms are in the folder of the site, what is known of the tokens is in another.
    files = {
        "norms": regression.paths("norms", regression.site_folder),
        "token_properties": properties,
    }
    settings = {"drop_first": regression.record.settings("design")["drop_first"]}
    inputs = Inputs(Path(), Declared(files), settings)
    paths = folder_of(regression, "norms", regression.site_folder)
    return entry("kinds", "means", norms_by_part_of_speech, inputs, paths)


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
        heading = f"{source} to {regression.site}: " if len(sources) > 1 else ""
        sheets += entry_of_tables(
            "causes",
            f"causes-{source}",
            elasticities_by_layer,
            regression,
            folder,
            "total_effects",
            "elasticities",
            settings={"source": source, "target": regression.site},
            heading=heading,
        )
    return sheets
