"""Coefficients of several models by relative depth, a panel per lag and corpus."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag import wording
from attnlag.claims.run import Claims
from attnlag.claims.side_by_side import lags_side_by_side
from attnlag.errors import counted
from attnlag.figures.drawing import mark_no_attention
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import NO_ATTENTION, PALETTE
from attnlag.figures.templates import Lines, Sheet, profile, tests_of
from attnlag.figures.wording import PREDICTIVE, inference_text
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = "plot_comparison"
CATEGORY = "comparison"
SUBCATEGORY = "by relative depth"

# Colour-blind safe colours; the grey of the palette is reserved for controls.
MODEL_COLOURS = [colour for colour in PALETTE if colour != "#949494"]

# One style for each round of the colours.
DASHES = ["-", "-.", ":"]

Style = dict[str, Any]


def figure(inputs: Inputs) -> Sheet:
    """Return a row of panels per lag and a column per corpus."""
    claims = {(each.model, each.corpus): each.claims for each in inputs.regressions}
    # All models have one regression of one site, and the same settings of inference.
    first = inputs.regressions[0]
    settings = first.settings
    table = inputs.table("compared")
    table = table[table["regression"].eq(first.name) & table["site"].eq(first.site)]
    lags = lags_among(table["term"])
    corpora = table["corpus"].unique()
    mixers = {}
    for name, model in inputs.models.items():
        mixers[name] = model.get("mixers", {})
    styles = line_styles(table, mixers)
    panels = []
    for lag, corpus in itertools.product(lags, corpora):
        rows = table.query("term == @lag and corpus == @corpus")
        panels.append(panel(rows, styles, settings, mixers, f"{named(lag)}, {corpus}"))
    return Sheet(
        title_of(claims, lags[0]),
        [],
        panels,
        f"{PREDICTIVE} {inference_text(table, settings['adjust'], 'the layers of a model')}",
        across=len(corpora),
        extent=extent_of(inputs),
        **tests_of(settings),
    )


def panel(
    rows: pd.DataFrame,
    styles: Mapping[str, Style],
    settings: Mapping[str, Any],
    mixers: Mapping[str, Mapping[str, str]],
    title: str,
) -> Lines:
    """Return one lag in one corpus: a line for each model over an axis of all depths."""
    lines = []
    marks = []
    for model, style in styles.items():
        rows_of_model = rows[rows["model"] == model].sort_values("layer")
        layers = rows_of_model["layer"]
        depths = rows_of_model["depth"].to_numpy(dtype=float)
        lines.append(
            profile(rows_of_model, list(layers), alpha=settings["alpha"], x=depths, **style)
        )
        mixed = layers.isin(map(int, mixers[model])).to_numpy()
        marks.append((depths[mixed], style["color"]))

    def mark(axes: Axes) -> None:
        for without_attention, colour in marks:
            mark_no_attention(axes, without_attention, color=colour)
        axes.set_xlim(-0.02, 1.02)

    unit = f"coefficient\n({UNITS[settings['outcome']]})"
    depths = np.sort(rows["depth"].unique())
    label = "relative depth (first layer 0, last layer 1)"
    return Lines(lines, unit, title, depths, label, extra=mark)


def line_styles(table: pd.DataFrame, mixers: Mapping[str, Mapping[str, str]]) -> dict[str, Style]:
    """Return colour, dashes and label of each model, in the order of the table."""
    styles: dict[str, Style] = {}
    looks = itertools.cycle(itertools.product(DASHES, MODEL_COLOURS))
    sizes = table.groupby("model", sort=False)["layer"].max() + 1
    for (model, layers), (dashes, colour) in zip(sizes.items(), looks, strict=False):
        note = ""
        if mixers[str(model)]:
            note = f", {NO_ATTENTION} no attention"
        label = f"{model} ({counted(int(layers), 'layer')}{note})"
        styles[str(model)] = {"color": colour, "linestyle": dashes, "label": label, "shade": 0.15}
    return styles


def extent_of(inputs: Inputs) -> str:
    """Return the number of documents of each corpus; models differ in their tokens."""
    counts = {}
    for regression in inputs.regressions:
        documents = regression.record["corpus"]["documents"]
        counts[regression.corpus] = counted(documents, "document")
    if len(counts) == 1:
        return next(iter(counts.values()))
    return ", ".join(f"{corpus} {count}" for corpus, count in counts.items())


def title_of(claims: Mapping[tuple[str, str], Claims], lag: str) -> str:
    """Return the nearest lag or lead in each model, or the extremes of many."""
    corpora = {corpus for _, corpus in claims}
    studies = {}
    for (model, corpus), claims_of_study in claims.items():
        name = f"{model}, {corpus}" if len(corpora) > 1 else model
        studies[name] = claims_of_study
    rows = lags_side_by_side(lag, studies)
    title = wording.title(rows, heading=wording.LAGS_SIDE_BY_SIDE)
    return title or "Coefficients by relative depth"
