"""Coefficient of each lag by relative depth, of several models."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.figures.drawing import (
    PREDICTIVE,
    as_observed,
    correction_text,
    draw_profile,
    frame,
    is_permuted,
    mark_unfitted,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import ComparisonInputs
from attnlag.figures.legends import (
    GREY,
    PALETTE,
    band_text,
    legend_of,
    legends_in_strip,
    mark_entries,
    null_text,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.labels import COVARIANCE
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_comparison",)

CATEGORY = "comparison"

SUBCATEGORY = "by relative depth"

CONTROL = "0.5"

# Colours that readers with any colour vision tell apart; the palette's grey is the controls'.
COLOURS = [colour for colour in PALETTE if colour != "#949494"]

# One for each time that the colours are used up, or for each control.
DASHES: list[Any] = ["-", "-.", ":"]
DASHES_OF_CONTROLS: list[Any] = [(0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2))]


def line_styles(coefficients: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour, dashes and label of each model, in the order of the table."""
    styles: dict[str, dict[str, Any]] = {}
    learned = controls = 0
    for model, rows in coefficients.groupby("model", sort=False):
        layers = int(rows["layer"].max()) + 1
        size = f"{layers} layer{'' if layers == 1 else 's'}"
        if rows["control"].iloc[0]:
            dashes = DASHES_OF_CONTROLS[controls % len(DASHES_OF_CONTROLS)]
            label = f"random weights ({model}, {size})"
            styles[str(model)] = {"color": CONTROL, "linestyle": dashes, "label": label}
            controls += 1
        else:
            dashes = DASHES[learned // len(COLOURS) % len(DASHES)]
            colour = COLOURS[learned % len(COLOURS)]
            label = f"{model} ({size})"
            styles[str(model)] = {"color": colour, "linestyle": dashes, "label": label}
            learned += 1
    return styles


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    coefficients : pandas.DataFrame
        The comparison's table of one site and regression. A row of panels per lag, a column per
        corpus; a layer without estimate is a gap, marked below in the colour of its model. Of a
        permuted regression, the coefficients in the order that the tokens have are drawn, with
        the bands of the null.
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    """

    coefficients: pd.DataFrame
    alpha: float
    adjust: str


def reduce(inputs: ComparisonInputs) -> Data:
    """Return the table as it is."""
    return Data(inputs.coefficients, inputs.inference["alpha"], inputs.inference["adjust"])


def title_of(data: Data) -> str:
    """Return in how many layers of all models the nearest lag or lead is significant."""
    coefficients = data.coefficients
    term = lags_among(list(coefficients["term"]))[0]
    rows = coefficients[coefficients["term"] == term].dropna(subset=["p_adjusted"])
    parts: list[str] = []
    for control, of_kind in rows.groupby("control"):
        significant = of_kind["p_adjusted"] < data.alpha
        share = significant.groupby([of_kind["model"], of_kind["corpus"]]).mean()
        low, high = f"{share.min():.0%}", f"{share.max():.0%}"
        words = low if low == high else f"{low} to {high}"
        parts.append(f"with random weights in {words}" if control else f"in {words} of the layers")
    if not parts:
        return "Coefficients by relative depth"
    verb = "differs from its null" if is_permuted(coefficients) else "predicts"
    return f"{named(term).capitalize()} {verb} {', '.join(parts)}"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the coefficients of several models over relative depth.

    In a narrow figure the panels of all corpora lie below each other.
    """
    coefficients, alpha, adjust = data.coefficients, data.alpha, data.adjust
    lags = lags_among(list(coefficients["term"]))
    permuted = is_permuted(coefficients)
    coefficients = as_observed(coefficients[coefficients["term"].isin(lags)])
    corpora = list(coefficients["corpus"].unique())
    styles = line_styles(coefficients)

    # The legends have a strip of their own below the title, as high as they need.
    models = {kind["label"]: Line2D([], [], linewidth=2, **kind) for kind in styles.values()}
    marks = mark_entries(
        alpha,
        adjust,
        band=null_text(alpha) if permuted else band_text(alpha),
        unfitted=bool(coefficients["estimate"].isna().any()),
    )
    legends = [legend_of(entries, size) for entries in (models, marks)]
    strip = strip_height(*legends)
    across = 1 if size.narrow else len(corpora)
    rows_of_panels = len(lags) * len(corpora) // across
    panel = 2.7 if rows_of_panels <= 2 and not size.narrow else 2.0
    figure = Figure(figsize=size.tall(1.3 + strip + panel * rows_of_panels), layout="constrained")
    grid = figure.add_gridspec(rows_of_panels, across)
    axes_of_row: Axes | None = None
    for row, lag in enumerate(lags):
        for column, corpus in enumerate(corpora):
            # One scale for a lag, whatever the corpus.
            line, place = divmod(row * len(corpora) + column, across)
            axes = figure.add_subplot(grid[line, place], sharey=axes_of_row if column else None)
            axes_of_row = axes
            rows = coefficients[(coefficients["term"] == lag) & (coefficients["corpus"] == corpus)]
            _draw_panel(axes, rows, styles, alpha)
            if row == 0 or across < len(corpora):
                axes.set_title(corpus, loc="left")
            if place == 0:
                axes.set_ylabel(f"coefficient of {named(lag)}")
            axes.tick_params(labelbottom=line == rows_of_panels - 1, labelleft=place == 0)
    sns.despine(figure)
    figure.align_ylabels()

    covariance = coefficients["vcov_type"].iloc[0]
    control = (
        " Random weights: a control; what it shows is not learned."
        if coefficients["control"].any()
        else ""
    )
    frame(
        figure,
        title,
        f"{PREDICTIVE} Coefficients: log norm per log norm. Standard errors: "
        f"{COVARIANCE.get(covariance, covariance)}; "
        f"{correction_text(adjust, 'the layers of a model')}.{control}",
        x_label="relative depth (first layer 0, last layer 1)",
        strip=strip,
    )
    legends_in_strip(figure, *legends)
    return figure


def _draw_panel(
    axes: Axes, coefficients: pd.DataFrame, styles: dict[str, dict[str, Any]], alpha: float
) -> None:
    """Draw one lag in one corpus: a line, a band and marks for each model."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    rule_values(axes)
    many = len(styles) > 3
    for place, (model, kind) in enumerate(styles.items()):
        rows = coefficients[coefficients["model"] == model].sort_values("layer")
        depth = rows["depth"].to_numpy()
        colour = kind["color"]
        draw_profile(
            axes,
            depth,
            rows,
            colour,
            alpha,
            shade=0.12 if many else 0.2,
            # Marks of 48 layers on one line must not grow together.
            size=4.5 if len(rows) <= 16 else 3.2 if len(rows) <= 32 else 2.4,
            linestyle=kind["linestyle"],
            # Controls lie behind the models that they are the control of.
            zorder=2 if colour == CONTROL else 3,
        )
        unfitted = depth[rows["estimate"].isna()]
        mark_unfitted(axes, unfitted, 0.03 + 0.035 * place, color=colour)
    axes.margins(y=0.08)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
