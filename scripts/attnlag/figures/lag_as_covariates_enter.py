"""Nearest lag and R² by layer as effects of documents, parts of speech and tokens enter."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from attnlag.figures.drawing import (
    DIVERGING,
    draw_band,
    draw_map,
    frame,
    label_cells,
    label_layers,
    layers_labelled,
    reach_of,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import ClassesInputs
from attnlag.figures.legends import GREY, strip_height
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
)
from attnlag.regression.decomposition import EFFECTS, PARTS, POOLED
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_classes",)

CATEGORY = "coefficients"

SUBCATEGORY = "as covariates enter"

STEPS = {
    POOLED: "pooled",
    "document": "within documents",
    "upos": "+ part of speech",
    "upos_previous": "+ that of the token before",
    "token": "+ token",
    "token_previous": "+ token before",
}
MARKERS = dict(zip(STEPS, "osD^vX", strict=True))
OF_PARTS = {
    "document": "documents",
    "upos": "part of speech",
    "upos_previous": "that of the token before",
    "tokens": "both tokens beyond these",
}


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    steps, parts : pandas.DataFrame
        The rows of one lag, see `regression.decomposition.Decomposition`.
    term : str
    alpha : float
        Bands cover 1 - ``alpha``.
    outcome : {"norm", "relative"}
    """

    steps: pd.DataFrame
    parts: pd.DataFrame
    term: str
    alpha: float
    outcome: str = "norm"


def reduce(inputs: ClassesInputs) -> Data:
    """Select the nearest lag."""
    term = lags_among(list(inputs.steps["term"]))[0]
    regression = inputs.settings["regression"]
    return Data(
        inputs.steps[inputs.steps["term"] == term],
        inputs.parts[inputs.parts["term"] == term],
        term,
        regression["alpha"],
        regression["outcome"],
    )


def title_of(data: Data) -> str:
    """Return the mean lag over the layers, in the first and the last step."""
    mean = data.steps.groupby("step")["estimate"].mean()
    first, last = mean[POOLED], mean[EFFECTS[-1]]
    term = named(data.term)
    if not np.isfinite(last):
        return f"{term.capitalize()} as covariates enter"
    return (
        f"Holding documents, parts of speech and tokens fixed moves {term} from {first:.2f} to "
        f"{last:.2f}"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the lag and R² of each step by layer, and the change of the lag due to each part."""
    layers = sorted(data.steps["layer"].unique())
    # From light to dark as more is held fixed.
    shades = sns.color_palette("inferno_r", len(STEPS) + 2)[2:]
    colours = dict(zip(STEPS, shades, strict=True))
    entries = {
        label: Line2D([], [], color=colours[step], marker=MARKERS[step], markersize=5)
        for step, label in STEPS.items()
    }
    strip = strip_height([entries], size.canvas)
    if size.flat:
        figure = Figure(figsize=size.tall(4.4), layout="constrained")
        above, middle, below = figure.subplots(1, 3, width_ratios=[1, 1, 1.25])
    elif size.narrow:
        figure = Figure(figsize=size.tall(8.4 + strip), layout="constrained")
        above, middle, below = figure.subplots(3, 1, height_ratios=[2, 2, 1.7])
    else:
        figure = Figure(figsize=size.tall(6.6 + strip), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=[1.7, 1.25])
        above, middle = figure.add_subplot(grid[0, 0]), figure.add_subplot(grid[0, 1])
        below = figure.add_subplot(grid[1, :])

    above.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    for step, colour in colours.items():
        rows = data.steps[data.steps["step"] == step].set_index("layer").reindex(layers)
        _draw_step(above, rows, "estimate", colour, MARKERS[step])
        low, high = rows["conf_low"].to_numpy(float), rows["conf_high"].to_numpy(float)
        draw_band(above, np.array(layers), low, high, color=colour, alpha=0.15, zorder=1.7)
        _draw_step(middle, rows, "r_squared", colour, MARKERS[step])
    above.set_title(f"coefficient of {named(data.term)}", loc="left", weight="bold")
    above.set_ylabel("coefficient")
    middle.set_title("variance explained", loc="left", weight="bold")
    middle.set_ylabel("R² of all variance")
    middle.set_ylim(0, 1)
    for axes in (above, middle):
        rule_values(axes)
        label_layers(axes, layers)
        sns.despine(ax=axes)

    changes = (
        data.parts.pivot(index="part", columns="layer", values="change")
        .reindex(index=list(PARTS), columns=layers)
        .to_numpy(dtype=float)
    )
    reach = reach_of(changes)
    gap = " of the coefficient " if size is PAGE else "\n"
    bar: dict[str, Any] = {
        "location": "bottom",
        "aspect": 60,
        "pad": 0.03,
        "extend": "both",
        "ticks": MaxNLocator(8 if size is PAGE else 4),
        "label": f"change{gap}({UNITS[data.outcome]})",
    }
    draw_map(below, changes, DIVERGING, -reach, reach, **bar)
    label_cells(below.xaxis, layers, most=layers_labelled(below))
    below.set_xlabel("layer")
    below.set_yticks(np.arange(len(PARTS)) + 0.5, [OF_PARTS[part] for part in PARTS], rotation=0)
    below.tick_params(axis="y", left=False)
    below.set_title(
        "change by part"
        if size is not PAGE
        else f"change of {named(data.term)} by part, from pooled to everything held fixed",
        loc="left",
        weight="bold",
    )
    level = f"{100 * (1 - data.alpha):g}%"
    counts = data.steps[["n_obs", "n_documents"]].max()
    sample = (
        f"Rows: {counts['n_obs']:,} of {counts['n_documents']:,} documents with parts of speech"
    )
    frame(
        figure,
        title,
        "Each step adds one set of effects, with a dummy for each level, to the steps before; R² "
        f"includes what the dummies explain. {sample}. Bands: {level} intervals, clustered by "
        "document (CR2). Cells: Gelbach's decomposition of the change, which does not depend on "
        f"the order of the steps; columns add up to the last step minus the first. {PREDICTIVE}",
        legends=[entries],
    )
    return figure


def _draw_step(axes: Axes, rows: pd.DataFrame, column: str, colour: object, marker: str) -> None:
    axes.plot(
        rows.index,
        rows[column].to_numpy(dtype=float),
        color=colour,
        marker=marker,
        markersize=3.4,
        linewidth=1.2,
        zorder=2.5,
    )
