"""The figure of a comparison: lag coefficients of several models over relative depth."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.figures import (
    ADJUSTMENTS,
    COVARIANCE,
    GREY,
    PREDICTIVE,
    frame,
    lags_among,
    named,
    style,
)

CONTROL = "0.5"

# Colours that readers with any colour vision tell apart; the palette's grey is the controls'.
COLOURS = [colour for colour in sns.color_palette("colorblind").as_hex() if colour != "#949494"]

# Height of a line of a legend, in inches.
LEGEND_LINE = 0.2

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


def legend_columns(labels: list[str], width: float) -> int:
    """Return the columns of a legend that has no more lines than ``width`` inches ask for.

    A legend is filled column by column, each as wide as its longest label.
    """
    columns = len(labels)
    for lines in range(1, len(labels) + 1):
        columns = -(-len(labels) // lines)
        longest = [max(map(len, column)) for column in np.array_split(labels, columns)]
        # A character of 9 points is about 0.07 inches wide; the line and the gaps come to 0.65.
        if sum(0.65 + 0.07 * size for size in longest) <= width:
            break
    return columns


@style()
def coefficients_by_depth(
    coefficients: pd.DataFrame, *, title: str, alpha: float, adjust: str
) -> Figure:
    """Draw the coefficients of several models over relative depth.

    Parameters
    ----------
    coefficients : pandas.DataFrame
        The comparison's table of one site and regression. A row of panels per lag, a column per
        corpus; a layer without estimate is a gap, marked below in the colour of its model.
    title : str
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction behind ``p_adjusted``.
    """
    lags = lags_among(list(coefficients["term"]))
    coefficients = coefficients[coefficients["term"].isin(lags)]
    corpora = list(coefficients["corpus"].unique())
    styles = line_styles(coefficients)

    # The legends have a strip of their own below the title, as high as they need.
    columns = legend_columns([kind["label"] for kind in styles.values()], 9.7)
    strip = LEGEND_LINE * (-(-len(styles) // columns) + 1) + 0.05
    panel = 2.7 if len(lags) <= 2 else 2.0
    figure = Figure(figsize=(10, 1.3 + strip + panel * len(lags)), layout="constrained")
    grid = figure.add_gridspec(len(lags), len(corpora))
    axes_of_row: Axes | None = None
    for row, lag in enumerate(lags):
        for column, corpus in enumerate(corpora):
            # One scale for a lag, whatever the corpus.
            axes = figure.add_subplot(grid[row, column], sharey=axes_of_row if column else None)
            axes_of_row = axes
            rows = coefficients[(coefficients["term"] == lag) & (coefficients["corpus"] == corpus)]
            _draw_panel(axes, rows, styles, alpha)
            if row == 0:
                axes.set_title(corpus, loc="left")
            if column == 0:
                axes.set_ylabel(f"coefficient of {named(lag)}")
            axes.tick_params(labelbottom=row == len(lags) - 1, labelleft=column == 0)
    sns.despine(figure)
    figure.align_ylabels()

    if adjust == "none":
        correction = "p-values not corrected for the number of layers"
    else:
        correction = (
            f"p-values corrected over the layers of a model, per term ({ADJUSTMENTS[adjust]})"
        )
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
        f"{COVARIANCE.get(covariance, covariance)}; {correction}.{control}",
        x_label="relative depth (first layer 0, last layer 1)",
        strip=strip,
    )
    missing = bool(coefficients["estimate"].isna().any())
    _legends(figure, styles, columns, alpha, adjust, missing)
    return figure


def _draw_panel(
    axes: Axes, coefficients: pd.DataFrame, styles: dict[str, dict[str, Any]], alpha: float
) -> None:
    """Draw one lag in one corpus: a line, a band and marks for each model."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_axisbelow(True)
    many = len(styles) > 3
    for place, (model, kind) in enumerate(styles.items()):
        rows = coefficients[coefficients["model"] == model].sort_values("layer")
        depth, estimate = rows["depth"].to_numpy(), rows["estimate"].to_numpy()
        low, high = rows["conf_low"].to_numpy(), rows["conf_high"].to_numpy()
        colour = kind["color"]
        # Controls lie behind the models that they are the control of.
        level = 2 if colour == CONTROL else 3
        axes.fill_between(
            depth, low, high, color=colour, alpha=0.12 if many else 0.2, linewidth=0, zorder=level
        )
        axes.plot(
            depth,
            estimate,
            color=colour,
            linestyle=kind["linestyle"],
            linewidth=1.3,
            zorder=level + 2,
        )
        known = np.isfinite(estimate)
        # A band between two gaps, or of a single layer, has no width.
        beside = np.concatenate([[False], known, [False]])
        alone = known & ~beside[:-2] & ~beside[2:]
        axes.vlines(depth[alone], low[alone], high[alone], color=colour, alpha=0.5, linewidth=3)
        significant = rows["p_adjusted"].to_numpy() < alpha
        # Marks of 48 layers on one line must not grow together.
        size = 4.5 if len(rows) <= 16 else 3.2 if len(rows) <= 32 else 2.4
        for chosen, marker, larger in ((significant, "o", 0.0), (~significant, "x", 1.6)):
            axes.plot(
                depth[known & chosen],
                estimate[known & chosen],
                linestyle="none",
                marker=marker,
                markersize=size + larger,
                markeredgewidth=1.2 if marker == "x" else 0,
                color=colour,
                zorder=level + 3,
            )
        if not known.all():
            axes.plot(
                depth[~known],
                np.full((~known).sum(), 0.03 + 0.035 * place),
                transform=axes.get_xaxis_transform(),
                linestyle="none",
                marker="^",
                markersize=5,
                markerfacecolor="none",
                color=colour,
                clip_on=False,
            )
    axes.margins(y=0.08)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))


def _legends(
    figure: Figure,
    styles: dict[str, dict[str, Any]],
    columns: int,
    alpha: float,
    adjust: str,
    missing: bool,
) -> None:
    """Name the models in a first legend, and below it the marks that all of them share."""
    corrected = "" if adjust == "none" else f", {ADJUSTMENTS.get(adjust, adjust)}"
    mark: dict[str, Any] = {"linestyle": "none", "color": GREY}
    marks: list = [
        Line2D([], [], marker="o", markersize=5, label=f"p < {alpha:g}{corrected}", **mark),
        Line2D(
            [],
            [],
            marker="x",
            markersize=6,
            markeredgewidth=1.4,
            label=f"p ≥ {alpha:g}{corrected}",
            **mark,
        ),
        Patch(color=GREY, alpha=0.25, linewidth=0, label=f"{100 * (1 - alpha):g}% confidence band"),
    ]
    if missing:
        marks.append(
            Line2D(
                [], [], marker="^", markersize=5, markerfacecolor="none", label="not fitted", **mark
            )
        )
    models = [Line2D([], [], linewidth=2, **kind) for kind in styles.values()]
    width, height = figure.get_size_inches()
    top = height - 0.2 * figure.get_suptitle().count("\n") - 0.36
    for handles, ncols in ((models, columns), (marks, len(marks))):
        legend = figure.legend(
            handles=handles,
            loc="upper left",
            bbox_to_anchor=(0.1 / width, top / height),
            ncols=ncols,
            handlelength=2.6,
            columnspacing=1.6,
            labelspacing=0.35,
            borderaxespad=0,
            borderpad=0,
        )
        # It has its room already.
        legend.set_in_layout(False)
        top -= LEGEND_LINE * -(-len(handles) // ncols)
