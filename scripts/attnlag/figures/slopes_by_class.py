"""Slope of the nearest lag by layer for each class of tokens, minus that of all tokens."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.errors import counted
from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    draw_profile,
    frame,
    label_cells,
    label_layers,
    layers_labelled,
    mark_size,
    mark_unfitted,
    reach_of,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import ClassesInputs
from attnlag.figures.legends import GREY, MARKERS, PALETTE, layer_colours
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
)
from attnlag.regression.classes import ALL, LINE
from attnlag.regression.labels import CLASSES, COVARIANCE, UNITS, correction_text
from attnlag.regression.moderators import PER_SD, POINTS
from attnlag.regression.properties import MODERATORS, OTHER, TERCILES
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_classes",)

CATEGORY = "coefficients"

SUBCATEGORY = "by class of tokens"


@dataclass
class Data:
    """Data of the figure.

    If slopes vary with a number, ``classes`` are thirds of the tokens, and ``slopes`` also contains
    those along the line.

    Attributes
    ----------
    slopes : pandas.DataFrame
        Slopes of one term, a row per class and layer; `ALL` is the slope shared by all classes.
    tests : pandas.DataFrame
        Tests of this term, a row per layer.
    term : str
    classes : list of str
        From top to bottom: most rows first, ``other`` last.
    what, of : str
        Name of the property, and of the token whose class is used.
    alpha : float
        Level of significance.
    adjust : str
        The correction of p-values.
    outcome : {"norm", "relative"}
    """

    slopes: pd.DataFrame
    tests: pd.DataFrame
    term: str
    classes: list[str]
    what: str
    of: str
    alpha: float
    adjust: str
    outcome: str = "norm"


def reduce(inputs: ClassesInputs) -> Data:
    """Select the nearest lag."""
    term = lags_among(list(inputs.tests["term"]))[0]
    slopes = inputs.slopes[inputs.slopes["term"] == term]
    rows = slopes.drop_duplicates("subset").set_index("subset")["n_obs"]
    by_rows = rows.drop([ALL, OTHER], errors="ignore").sort_values(ascending=False, kind="stable")
    if inputs.settings["property"] in MODERATORS:
        by_rows = rows[[third for third in TERCILES if third in rows]]
    settings = inputs.settings
    regression = settings["regression"]
    return Data(
        slopes=slopes,
        tests=inputs.tests[inputs.tests["term"] == term],
        term=term,
        classes=[*by_rows.index, *([OTHER] if OTHER in rows else [])],
        what=CLASSES[settings["property"]],
        of="the outcome" if settings["offset"] == 0 else "the token at the nearest lag",
        alpha=regression["alpha"],
        adjust="holm" if regression["adjust"] == "max-t" else regression["adjust"],
        outcome=regression["outcome"],
    )


def title_of(data: Data) -> str:
    """Return the smallest and the largest median slope, and the number of layers that differ."""
    if along_line(data):
        return _title_along(data)
    rows = data.slopes[~data.slopes["subset"].isin([ALL, OTHER])].dropna(subset="estimate")
    if rows["subset"].nunique() < 2:
        return f"Slopes by class of tokens ({data.what}) could not be fitted"
    median = rows.groupby("subset", sort=False)["estimate"].median()
    tested = data.tests.dropna(subset="p_adjusted")
    rejected = int((tested["p_adjusted"] < data.alpha).sum())
    return (
        f"{named(data.term).capitalize()} differs by {data.what} in {rejected} of "
        f"{counted(len(tested), 'layer')} (equal slopes would in none): {median.min():.2f} "
        f"({median.idxmin()}) to {median.max():.2f} ({median.idxmax()}) in the median layer"
    )


def along_line(data: Data) -> bool:
    """Return whether the classes are thirds of a number with which slopes change."""
    return LINE in set(data.tests["hypothesis"])


def _title_along(data: Data) -> str:
    """Return the slopes at both ends of the line, and the numbers of layers that change or bend."""
    at = data.slopes.groupby("subset")["estimate"].median()
    low, _, high = POINTS
    change = data.slopes[data.slopes["subset"] == PER_SD].dropna(subset="p_adjusted")
    if change.empty:
        return f"{named(data.term).capitalize()} by {data.what}: no layer could be fitted"
    bends = data.tests[data.tests["hypothesis"] == LINE]
    changes, bent = (int((one["p_adjusted"] < data.alpha).sum()) for one in (change, bends))
    return (
        f"{named(data.term).capitalize()} by {data.what}: {at[low]:.2f} at {low}, {at[high]:.2f} "
        f"at {high} in the median layer; the slope changes in {changes} of "
        f"{counted(len(change), 'layer')}, not linearly in {bent}; a constant one would in none"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the slope shared by all classes, and below it the difference of each class.

    If slopes vary with a number, draw the slope at points of the line, and below it the slope of
    each third of the tokens.
    """
    if along_line(data):
        return _draw_along(data, title, size)
    layers = sorted(data.slopes["layer"].unique())
    shape: dict[str, Any] = {"index": "subset", "columns": "layer"}
    differences, p_values = (
        data.slopes.pivot(**shape, values=value)
        .reindex(index=data.classes, columns=layers)
        .to_numpy(dtype=float)
        for value in ("difference", "difference_p_adjusted")
    )
    each = 0.24 if len(data.classes) > 6 else 0.4
    figure = Figure(figsize=size.tall(3.4 + each * max(len(data.classes), 3)), layout="constrained")
    if size.flat:
        cells, top = figure.subplots(1, 2, width_ratios=[2.2, 1])
    else:
        heights = [1.5, max(each * len(data.classes), 1.0)]
        top, cells = figure.subplots(2, 1, height_ratios=heights)

    shared = data.slopes[data.slopes["subset"] == ALL].set_index("layer").reindex(layers)
    places = np.arange(len(layers)) + 0.5
    top.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(top)
    draw_profile(
        top, places, shared, PALETTE[0], data.alpha, shade=0.22, size=mark_size(len(layers))
    )
    mark_unfitted(top, places[shared["estimate"].isna().to_numpy()], 0.04)
    top.set_xlim(0, len(layers))
    label_cells(top.xaxis, layers, most=layers_labelled(top))
    top.set_xlabel("layer" if size.flat else "")
    top.set_ylabel("coefficient")
    top.set_title(f"{named(data.term)} of all tokens", loc="left", weight="bold")

    reach = reach_of(differences)
    label = f"difference ({UNITS[data.outcome]})"
    bar = {"location": "bottom", "aspect": 60, "pad": 0.02, "label": label, "extend": "both"}
    draw_map(cells, differences, DIVERGING, -reach, reach, **bar)
    label_cells(cells.xaxis, layers, most=layers_labelled(cells))
    cells.set_xlabel("layer")
    middles = np.arange(len(data.classes)) + 0.5
    cells.set_yticks(middles, data.classes, rotation=0)
    cells.tick_params(axis="y", left=False)
    cells.set_title(
        "difference by class" if size.narrow else f"difference of each class from it: {data.what}",
        loc="left",
        weight="bold",
    )
    sizes = data.slopes.drop_duplicates("subset").set_index("subset").reindex(data.classes)
    beside = cells.secondary_yaxis("right")
    beside.set_yticks(
        middles,
        [f"{row.n_obs:,} | {row.n_documents:,}" for row in sizes.itertuples()],
        fontsize=7.5,
    )
    beside.tick_params(axis="y", right=False)
    beside.set_ylabel("rows | documents")
    row, place = np.nonzero(p_values >= data.alpha)
    # Colours show the size of a difference; crosses mark those that are not significant.
    cells.plot(place + 0.5, row + 0.5, linestyle="none", marker="x", color=GREY, markersize=3.2)
    sns.despine(ax=top)
    kinds = data.slopes["vcov_type"].iloc[0]
    merged = str(data.tests["merged"].iloc[0])
    other = f"other: {merged}, with too few rows or documents. " if merged else ""
    corrected = correction_text(data.adjust, over="all layers and classes")
    frame(
        figure,
        title,
        f"One regression on all rows, with a level for each class; the class is that of {data.of}, "
        f"the lags are those of the full text. Crosses: the difference has p ≥ "
        f"{data.alpha:g}, {corrected}; standard errors {COVARIANCE[kinds]}. {other}Grey: not "
        f"fitted. Colours saturate for the most extreme 2% of the cells. {PREDICTIVE}",
    )
    return figure


def _draw_along(data: Data, title: str, size: Size) -> Figure:
    """Draw slopes by layer at points of the line, and the slopes of thirds below them."""
    layers = sorted(data.slopes["layer"].unique())
    figure = Figure(figsize=size.tall(6.6), layout="constrained")
    shape = (1, 2) if size.flat else (2, 1)
    panels = figure.subplots(*shape, sharex=True, sharey=True)
    short = size.narrow or size.flat
    named_panels = (
        "changing linearly" if short else f"{named(data.term)}, changing linearly with {data.what}",
        "by third of the tokens" if short else f"{named(data.term)} by third of the tokens",
    )
    colours, markers = layer_colours(len(POINTS)), MARKERS[: len(POINTS)]
    entries = {
        f"{point}; {third} third": Line2D(
            [], [], color=colour, marker=marker, ms=6, mew=0, linewidth=1.6
        )
        for point, third, colour, marker in zip(POINTS, TERCILES, colours, markers, strict=True)
    }
    for axes, subsets, name in zip(panels, (list(POINTS), TERCILES), named_panels, strict=True):
        axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
        rule_values(axes)
        for subset, colour, marker in zip(subsets, colours, markers, strict=True):
            rows = data.slopes[data.slopes["subset"] == subset].set_index("layer").reindex(layers)
            draw_profile(
                *(axes, layers, rows, colour, data.alpha),
                shade=0.18,
                size=mark_size(len(layers)),
                marker=marker,
            )
        label_layers(axes, layers)
        axes.set_title(name, loc="left", weight="bold")
        axes.set_ylabel("coefficient" if size.narrow else f"coefficient\n({UNITS[data.outcome]})")
    if not size.flat:
        panels[0].set_xlabel("")
    sns.despine(figure)
    at = data.slopes.drop_duplicates("subset").set_index("subset")["at"]
    places = (
        ", ".join(f"{at.get(one, np.nan):.3g}" for one in ends) for ends in (POINTS, TERCILES)
    )
    line, thirds = places
    kinds = data.slopes["vcov_type"].iloc[0]
    frame(
        figure,
        title,
        f"The {data.what} is that of {data.of}: {line} at the points of the line, {thirds} on "
        f"average in the thirds. Filled marks: p < {data.alpha:g}, {correction_text(data.adjust)}; "
        f"crosses: shown to be negligible. Bands: {100 * (1 - data.alpha):g}% confidence; standard "
        f"errors {COVARIANCE[kinds]}. {PREDICTIVE}",
        legends=[entries],
    )
    return figure
