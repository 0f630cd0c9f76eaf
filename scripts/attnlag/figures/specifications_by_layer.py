"""Coefficient of lag 1 by layer for every regression, in one panel."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from attnlag.figures.drawing import (
    draw_band,
    frame,
    label_layers,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import SpecificationsInputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
    shortened,
)
from attnlag.regression.labels import COVARIANCE, UNITS, plural
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_specifications",)

CATEGORY = "coefficients"

SUBCATEGORY = "regressions side by side"

TERM = "lag_1"

LONGEST_NAME = 24

# Colours that are dark enough for text; further lines are distinguished by their dashes.
COLOURS = [PALETTE[place] for place in (0, 3, 2, 4, 7, 5)]
DASHES = ["-", (0, (5, 1.5)), (0, (1.2, 1.2))]

# Largest number of regressions with bands; the bands of more would overlap.
MOST_BANDS = 4


def term_shown(coefficients: pd.DataFrame) -> str:
    """Return the term to draw: lag 1 or else the nearest lag or lead of the regression."""
    return lags_among(list(coefficients["term"]))[0]


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    regressions : list of pandas.DataFrame
        The tidy tables of one model, corpus and site. A layer without an estimate is a gap.
    alpha : float
        The bands are those of the tables, 1 - ``alpha``.
    outcomes : list of str
        Outcome of each regression; empty for norms.
    """

    regressions: list[pd.DataFrame]
    alpha: float
    outcomes: list[str] = field(default_factory=list)


def reduce(inputs: SpecificationsInputs) -> Data:
    """Return the data without reducing the tables."""
    tables = [study.coefficients for study in inputs.studies]
    outcomes = [study.outcome for study in inputs.studies]
    return Data(tables, inputs.studies[0].inference["alpha"], outcomes)


def title_of(data: Data) -> str:
    """Return the smallest and the largest median coefficient, if all share the term."""
    terms = {term_shown(table) for table in data.regressions}
    if len(terms) != 1:
        return "Coefficients of all regressions"
    (term,) = terms
    lag = named(term).capitalize()
    medians = {
        table["regression"].iloc[0]: table.loc[table["term"] == term, "estimate"].median()
        for table in data.regressions
    }
    known = {name: median for name, median in medians.items() if np.isfinite(median)}
    if len(known) < 2:
        said = [f"{median:.2f} ({name})" for name, median in known.items()]
        return f"{lag}, median over the layers: {said[0]}" if said else f"No estimate of {lag}"
    low, high = min(known, key=known.__getitem__), max(known, key=known.__getitem__)
    return (
        f"{lag} is {known[low]:.2f} in the median layer ({low}) or {known[high]:.2f} ({high}): it "
        "depends on what is held fixed"
    )


def spread_out(heights: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Return heights between two limits, near those given, that are at least a gap apart.

    Parameters
    ----------
    heights : sequence of float
        In any order.
    gap : float
        Made smaller if there is not enough room for all.
    low, high : float
    """
    count = len(heights)
    gap = min(gap, (high - low) / max(count - 1, 1))
    order = np.argsort(heights, kind="stable")
    # First from the top down, then from the bottom up, heights move as far as necessary.
    places = np.clip(np.asarray(heights, dtype=float)[order], low, high)
    for place in range(1, count):
        places[place] = max(places[place], places[place - 1] + gap)
    places[-1:] = np.minimum(places[-1:], high)
    for place in range(count - 2, -1, -1):
        places[place] = min(places[place], places[place + 1] - gap)
    found = np.empty(count)
    found[order] = places
    return found


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the coefficient of lag 1 by layer for every regression, labelled at its end."""
    numbers = sorted(set().union(*(table["layer"] for table in data.regressions)))
    outcomes = data.outcomes or ["norm"] * len(data.regressions)
    figure = Figure(figsize=size.tall(4.4), layout="constrained")
    axes = figure.subplots()
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(axes)
    names, ends, kinds = [], [], []
    for place, (table, outcome) in enumerate(zip(data.regressions, outcomes, strict=True)):
        term = term_shown(table)
        rows = table[table["term"] == term].set_index("layer").reindex(numbers)
        estimate, low, high = rows[["estimate", "conf_low", "conf_high"]].to_numpy(float).T
        kind: dict[str, Any] = {
            "color": COLOURS[place % len(COLOURS)],
            "linestyle": DASHES[place // len(COLOURS) % len(DASHES)],
        }
        if len(data.regressions) <= MOST_BANDS:
            draw_band(axes, np.array(numbers), low, high, color=kind["color"], alpha=0.16)
        axes.plot(numbers, estimate, linewidth=1.5, marker="o", markersize=2.6, zorder=3, **kind)
        name = shortened(table["regression"].iloc[0], LONGEST_NAME)
        notes = [
            "" if term == TERM else named(term),
            plural(outcome) if outcome != "norm" else "",
            "" if np.isfinite(estimate).any() else "not fitted",
        ]
        if any(notes):
            name += f" ({', '.join(filter(None, notes))})"
        names.append(textwrap.fill(name, 16) if size.narrow else name)
        ends.append(estimate[np.isfinite(estimate)][-1:].sum())
        kinds.append(kind)
    label_layers(axes, numbers)
    unit = UNITS[outcomes[0]] if len(set(outcomes)) == 1 else "log per log"
    axes.set_ylabel(f"coefficient of {named(TERM)}\n({unit})")
    axes.margins(y=0.06)
    axes.autoscale_view()
    sns.despine(figure)
    _name_lines(axes, numbers[-1], names, ends, kinds)

    bands = f"Bands: {100 * (1 - data.alpha):g}% confidence, separate for each layer. "
    errors = dict.fromkeys(table["vcov_type"].iloc[0] for table in data.regressions)
    frame(
        figure,
        title,
        f"Coefficient of {named(TERM)}, or of the term named. "
        f"{bands if len(data.regressions) <= MOST_BANDS else ''}Standard errors: "
        f"{' and '.join(COVARIANCE[kind] for kind in errors)}. {PREDICTIVE}",
    )
    return figure


def _name_lines(
    axes: Axes, last: int, names: Sequence[str], ends: Sequence[float], kinds: Sequence[dict]
) -> None:
    """Write the name of each line beside its end, without overlaps."""
    low, high = axes.get_ylim()
    # Height of a line of text, as a share of a panel that is about three inches tall.
    gap = 0.055 * (high - low) * (1 + max(name.count("\n") for name in names))
    heights = spread_out(ends, gap, low + gap / 2, high - gap / 2)
    for name, end, height, kind in zip(names, ends, heights, kinds, strict=True):
        axes.annotate(
            name,
            (last, end),
            xytext=(1.03, height),
            textcoords=axes.get_yaxis_transform(),
            color=kind["color"],
            va="center",
            arrowprops={"arrowstyle": "-", "color": kind["color"], "linewidth": 0.6, "shrinkA": 1},
            annotation_clip=False,
        )
