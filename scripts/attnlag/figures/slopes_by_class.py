"""Slope of the nearest lag by layer of each class of tokens, less that of all tokens."""

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
from attnlag.figures.inputs import ClassesInputs
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
    """What the figure shows.

    By a number, ``classes`` are thirds of the tokens, and ``slopes`` has also those along the line.

    Attributes
    ----------
    slopes : pandas.DataFrame
        Of one term, a row per class and layer; `ALL` is the slope that all classes share.
    tests : pandas.DataFrame
        Of this term, a row per layer.
    term : str
    classes : list of str
        From the top: those of most rows first, ``other`` last.
    what, of : str
        What the classes are and whose class counts, in words.
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
    """Choose the nearest lag."""
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
    """Return the smallest and the largest median slope of a class, and where slopes differ."""
    if along_line(data):
        return _title_along(data)
    rows = data.slopes[~data.slopes["subset"].isin([ALL, OTHER])].dropna(subset="estimate")
    if rows["subset"].nunique() < 2:
        return f"No two classes of tokens ({data.what}) have slopes of their own"
    median = rows.groupby("subset", sort=False)["estimate"].median()
    tested = data.tests.dropna(subset="p_adjusted")
    rejected = int((tested["p_adjusted"] < data.alpha).sum())
    return (
        f"{named(data.term).capitalize()} by {data.what}, median over the layers: "
        f"{median.min():.2f} ({median.idxmin()}) to {median.max():.2f} ({median.idxmax()}); slopes "
        f"differ in {rejected} of {counted(len(tested), 'layer')}, where equal ones would in none"
    )


def along_line(data: Data) -> bool:
    """Return whether the classes are thirds by a number, along which slopes change."""
    return LINE in set(data.tests["hypothesis"])


def _title_along(data: Data) -> str:
    """Return the slopes at both ends of the line, where it is no level one, and where it bends."""
    at = data.slopes.groupby("subset")["estimate"].median()
    low, _, high = POINTS
    change = data.slopes[data.slopes["subset"] == PER_SD].dropna(subset="p_adjusted")
    if change.empty:
        return f"{named(data.term).capitalize()} by {data.what}: no layer could be fitted"
    bends = data.tests[data.tests["hypothesis"] == LINE]
    changes, bent = (int((one["p_adjusted"] < data.alpha).sum()) for one in (change, bends))
    return (
        f"{named(data.term).capitalize()} by {data.what}, median over the layers: {at[low]:.2f} at "
        f"{low}, {at[high]:.2f} at {high}; the slope changes along it in {changes} of "
        f"{counted(len(change), 'layer')} and not in a straight line in {bent}, where a constant "
        "one would in none"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the slope that all classes share, and below it what each class adds to it.

    By a number: the slope at points of the line, and below it that of each third of the tokens.
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
        "its difference in each class"
        if size.narrow
        else f"what each class adds to it: {data.what}",
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
    # A cross for what is not significant: colours say how large, not how sure.
    cells.plot(place + 0.5, row + 0.5, linestyle="none", marker="x", color=GREY, markersize=3.2)
    sns.despine(ax=top)
    kinds = data.slopes["vcov_type"].iloc[0]
    merged = str(data.tests["merged"].iloc[0])
    other = f"other: {merged}, of too few rows or documents. " if merged else ""
    corrected = correction_text(data.adjust, over="all layers and classes")
    frame(
        figure,
        title,
        f"One regression of all rows, with a level of each class; the class is that of {data.of}, "
        f"the lags are those of the full text. Crosses where the difference has p ≥ "
        f"{data.alpha:g}, {corrected}; standard errors {COVARIANCE[kinds]}. {other}Grey: not "
        f"fitted. Colours end where 2% of the cells are beyond. {PREDICTIVE}",
    )
    return figure


def _draw_along(data: Data, title: str, size: Size) -> Figure:
    """Draw slopes by layer at points of the line, and below them those of thirds."""
    layers = sorted(data.slopes["layer"].unique())
    figure = Figure(figsize=size.tall(6.6), layout="constrained")
    shape = (1, 2) if size.flat else (2, 1)
    panels = figure.subplots(*shape, sharex=True, sharey=True)
    short = size.narrow or size.flat
    named_panels = (
        "changing along a line"
        if short
        else f"{named(data.term)}, changing linearly with {data.what}",
        "of thirds of the tokens" if short else f"{named(data.term)} of each third of the tokens",
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
        f"The {data.what} is that of {data.of}: {line} at the points of the line, {thirds} in the "
        f"mean of the thirds. Full marks: p < {data.alpha:g}, {correction_text(data.adjust)}; "
        f"crosses: shown to be negligible. Bands hold {100 * (1 - data.alpha):g}%; standard errors "
        f"{COVARIANCE[kinds]}. {PREDICTIVE}",
        legends=[entries],
    )
    return figure
