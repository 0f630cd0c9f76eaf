"""The sheets that the explorer draws: those of figures, from the tables of a run."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from attnlag.claims.run import RunClaims
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
from attnlag.report.regression_tables import RegressionTables

# A sheet as JSON, with the tab that shows it and the paths of its tables.
Entry = dict[str, Any]


def entry(
    tab: str, name: str, sheet: Sheet, mixers: Mapping[str, str], tables: list[str]
) -> list[Entry]:
    """Return a sheet with its place in the page; nothing if it has no panels."""
    if not sheet.panels:
        return []
    return [{"tab": tab, "name": name, "tables": tables, **as_json(sheet, mixers)}]


def sheets_of_regression(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    """Return the coefficients of a regression, also by group, class of tokens and checkpoint."""
    folder = regression.folder
    names = SimpleNamespace(regression=regression.name)
    read = inputs.read_coefficients(
        regression.file("coefficients"),
        names,
        claims,
        fits=regression.fits,
        controls=regression.controls,
        medians=regression.medians,
        groups=pd.read_parquet(regression.file("groups")),
    )
    sheets = []
    if regression.terms:
        sheets += entry(
            "coefficients",
            "coefficients",
            coefficients_by_layer.figure(read),
            read.mixers,
            tables_of(regression, folder, "coefficients", "fits", "controls"),
        )
    if len(read.groups):
        sheets += entry(
            "coefficients",
            "groups",
            groups_by_layer.figure(read),
            read.mixers,
            tables_of(regression, folder, "groups"),
        )
    classes = regression.files.one_of("classes", folder)
    if classes:
        equal_slopes = regression.files.one_of("equal_slopes", folder)
        files = SimpleNamespace(classes=classes, equal_slopes=equal_slopes)
        sheet = slopes_by_class.figure(inputs.read_classes(files, names, None, claims))
        # The tab shows those of all regressions.
        sheet.claim = f"Regression {regression.name}: {sheet.claim}"
        tables = tables_of(regression, folder, "classes")
        sheets += entry("kinds", f"slopes-{regression.name}", sheet, read.mixers, tables)
    return sheets + _training(regression, claims)


def _training(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    """Return the regression at earlier checkpoints of the model, if it has any."""
    folder = regression.folder
    medians = regression.files.one_of("training", folder)
    layers = regression.files.one_of("training_layers", folder)
    if not (medians and layers):
        return []
    files = SimpleNamespace(training=medians, training_layers=layers)
    settings = {"equivalence_bound": regression.settings["equivalence_bound"]}
    names = SimpleNamespace(regression=regression.name)
    read = inputs.read_training(files, names, settings, claims)
    sheet = coefficients_by_step.figure(read)
    tables = tables_of(regression, folder, "training", "training_layers")
    return entry("training", "training", sheet, read.mixers, tables)


def sheets_of_site(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    """Return what does not depend on the regression, given any of the site."""
    return [
        *_parts_of_speech(regression, claims),
        *_heads(regression, claims),
        *_effects(regression, claims),
        *_sources(regression, claims),
    ]


def _parts_of_speech(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    files = regression.files
    properties = files.all_of("token_properties", regression.of_corpus)
    if not properties:
        return []
    given = SimpleNamespace(
        norms=files.all_of("norms", regression.of_site),
        stream=files.all_of("stream", regression.of_corpus),
        properties=properties,
    )
    names = SimpleNamespace(site=regression.site)
    settings = {"drop_first": regression.record.settings("design")["drop_first"]}
    norms = sampling.read_norms(given, names, settings, claims)
    sheet = norms_by_part_of_speech.figure(norms)
    tables = folder_of(regression, "norms", regression.of_site)
    return entry("kinds", "means", sheet, norms.mixers, tables)


def _heads(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    site = regression.of_site
    heads = regression.files.one_of("heads", site)
    coefficients = regression.files.one_of("head_coefficients", site)
    if not (heads and coefficients):
        return []
    files = SimpleNamespace(heads=heads, coefficients=coefficients)
    read = inputs.read_heads(files, SimpleNamespace(), None, claims)
    tables = tables_of(regression, site, "heads", "head_coefficients")
    return entry("heads", "heads", heads_by_layer.figure(read), read.mixers, tables)


def _effects(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    """Return a sheet for each site whose changes were observed at this one, itself first."""
    folder = regression.of_corpus
    total = regression.files.one_of("total_effects", folder)
    single = regression.files.one_of("elasticities", folder)
    if not (total and single):
        return []
    pairs = pd.read_parquet(total, columns=["source_site", "target_site"])
    sources = pairs.loc[pairs["target_site"] == regression.site, "source_site"].unique().tolist()
    sources.sort(key=lambda name: name != regression.site)
    files = SimpleNamespace(total_effects=total, elasticities=single)
    tables = tables_of(regression, folder, "total_effects", "elasticities")
    sheets = []
    for source in sources:
        settings = {"source": source, "target": regression.site}
        effects = inputs.read_effects(files, SimpleNamespace(), settings, claims)
        sheet = elasticities_by_layer.figure(effects)
        if len(sources) > 1:
            sheet.claim = f"{source} to {regression.site}: {sheet.claim}"
        sheets += entry("causes", f"causes-{source}", sheet, effects.mixers, tables)
    return sheets


def _sources(regression: RegressionTables, claims: RunClaims) -> list[Entry]:
    """Return who writes adjustments and what they say; either may be unknown."""
    files = regression.files
    site = regression.of_site
    shares: Path | None = files.one_of("shares", site)
    lags = files.one_of("lags", site)
    readout = files.all_of("readout", site)
    sheets = []
    if shares and lags:
        given = SimpleNamespace(shares=shares, lags=lags, readout=readout or [shares])
        traced = inputs.read_sources(given, SimpleNamespace(), None, claims)
        sheet = sources_by_layer.figure(traced)
        tables = tables_of(regression, site, "shares", "lags")
        sheets += entry("sources", "shares", sheet, traced.mixers, tables)
    if readout:
        given = SimpleNamespace(shares=[], lags=[], readout=readout)
        effects = inputs.read_sources(given, SimpleNamespace(), None, claims)
        sheet = readout_by_layer.figure(effects)
        tables = tables_of(regression, site, "readout")
        sheets += entry("sources", "readout", sheet, effects.mixers, tables)
    return sheets
