"""Coefficient of lag 1 by layer of every regression, side by side."""

import textwrap
from dataclasses import dataclass, field

import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.figures.drawing import (
    PREDICTIVE,
    correction_text,
    draw_profile,
    frame,
    label_layers,
    mark_size,
    mark_unfitted,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import SpecificationsInputs
from attnlag.figures.legends import (
    GREY,
    PALETTE,
    band_text,
    mark_entries,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.labels import COVARIANCE, UNITS, plural
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_specifications",)

CATEGORY = "coefficients"

SUBCATEGORY = "regressions side by side"

COLOUR = PALETTE[0]
OTHERS = "0.72"
MOST_COLUMNS, MOST_COLUMNS_OF_NARROW = 4, 2
TERM = "lag_1"


def term_shown(coefficients: pd.DataFrame) -> str:
    """Return the term of a regression that is drawn: its nearest lag, or else its nearest lead."""
    return lags_among(list(coefficients["term"]))[0]


def shape_of(panels: int, most: int = MOST_COLUMNS) -> tuple[int, int]:
    """Return rows and columns for so many panels, at most four in a row, rows about equal."""
    rows = -(-panels // most)
    return rows, -(-panels // rows)


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    regressions : list of pandas.DataFrame
        The tidy tables, all of one model, corpus and site, in the order of the panels. A layer
        without estimate is a gap, marked below.
    alpha : float
        Level of significance; the bands are those of the tables, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    negligible : float or None
        Bound within which coefficients that are shown to be there are crosses.
    outcomes : list of str
        What each regression is of; empty: of norms.
    """

    regressions: list[pd.DataFrame]
    alpha: float
    adjust: str
    negligible: float | None = None
    outcomes: list[str] = field(default_factory=list)


def reduce(inputs: SpecificationsInputs) -> Data:
    """Return the tables as they are."""
    first = inputs.studies[0]
    tables = [study.coefficients for study in inputs.studies]
    outcomes = [study.outcome for study in inputs.studies]
    return Data(tables, **first.inference, negligible=first.negligible, outcomes=outcomes)


def title_of(data: Data) -> str:
    """Return the median coefficient over the layers of each regression, if all have one term."""
    terms = {term_shown(table) for table in data.regressions}
    if len(terms) != 1:
        return "Regressions by layer"
    (term,) = terms
    parts: list[str] = []
    for table in data.regressions:
        rows = table[table["term"] == term]
        parts.append(f"{table['regression'].iloc[0]} {rows['estimate'].median():.2f}")
    return f"{named(term).capitalize()}, median over the layers: {', '.join(parts)}"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the coefficient of lag 1 of every regression by layer, a panel each.

    The estimates of the other regressions are light lines behind.
    """
    regressions, alpha, adjust = data.regressions, data.alpha, data.adjust
    numbers = sorted(set().union(*(table["layer"] for table in regressions)))
    terms = [term_shown(table) for table in regressions]
    profiles = [
        table[table["term"] == term].set_index("layer").reindex(numbers).reset_index()
        for table, term in zip(regressions, terms, strict=True)
    ]
    most = MOST_COLUMNS_OF_NARROW if size.narrow else MOST_COLUMNS
    rows, columns = shape_of(len(regressions), most)

    entries = mark_entries(
        alpha,
        adjust,
        band=band_text(alpha),
        negligible=data.negligible,
        unfitted=any(profile["estimate"].isna().any() for profile in profiles),
    )
    if len(regressions) > 1:
        entries["the other regressions"] = Line2D([], [], color=OTHERS, linewidth=1.2)
    strip = strip_height([entries], size.canvas)
    # A character of a bold title is about 0.1 inches wide, and a line 0.17 high.
    titles = [
        textwrap.fill(
            f"{table['regression'].iloc[0]}" + ("" if term == TERM else f" ({named(term)})"),
            int(((size.canvas - 0.8) / columns - 0.15) / 0.1),
        )
        for table, term in zip(regressions, terms, strict=True)
    ]
    outcomes = data.outcomes or ["norm"] * len(titles)
    titles = [
        title + f"\n({plural(outcome)})" * (outcome != "norm")
        for title, outcome in zip(titles, outcomes, strict=True)
    ]
    unit_of_all = UNITS[outcomes[0]] if len(set(outcomes)) == 1 else "log per log"
    lines = max(title.count("\n") for title in titles)
    each = (1.8 if size.narrow else 2.1 if columns > 2 else 2.7) + 0.17 * lines
    figure = Figure(figsize=size.tall(rows * each + strip + 1.35), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for place, axes in enumerate(grid.flat):
        if place >= len(regressions):
            axes.set_visible(False)
            continue
        for other, profile in enumerate(profiles):
            if other != place:
                axes.plot(numbers, profile["estimate"], color=OTHERS, linewidth=0.9, zorder=1.8)
        _draw_panel(axes, profiles[place], numbers, alpha)
        axes.set_title(titles[place], loc="left", weight="bold")
        label_layers(axes, numbers)
        axes.set_xlabel("")
        if place % columns == 0:
            unit = "" if size.narrow else f"\n({unit_of_all})"
            axes.set_ylabel(f"coefficient{unit}")
        if place + columns >= len(regressions):
            # Nothing below shows the numbers of this column.
            axes.tick_params(labelbottom=True)
    sns.despine(figure)

    kinds = dict.fromkeys(table["vcov_type"].iloc[0] for table in regressions)
    errors = " and ".join(COVARIANCE[kind] for kind in kinds)
    notes = [f"The coefficient of {named(TERM)}, or of the term named above the panel."]
    if size.narrow:
        notes.append(f"Its unit: {unit_of_all}.")
    notes.append(f"Standard errors: {errors}.")
    correction = correction_text(adjust)
    notes.append(f"{correction[0].upper()}{correction[1:]}. {PREDICTIVE}")
    frame(figure, title, " ".join(notes), x_label="layer", legends=[entries])
    return figure


def _draw_panel(axes: Axes, profile: pd.DataFrame, numbers: list[int], alpha: float) -> None:
    """Draw a regression's own coefficient."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(axes)
    size = mark_size(len(numbers))
    draw_profile(axes, numbers, profile, COLOUR, alpha, shade=0.22, size=size, zorder=3)
    mark_unfitted(axes, profile.loc[profile["estimate"].isna(), "layer"].to_numpy(), 0.04)
    axes.margins(y=0.08)
