"""Coefficient of each lag by relative depth, for several models."""

import itertools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.errors import counted
from attnlag.figures.drawing import (
    draw_profile,
    frame,
    mark_no_attention,
    mark_size,
    mark_unfitted,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import ComparisonInputs
from attnlag.figures.legends import (
    GREY,
    NO_ATTENTION,
    PALETTE,
    band_text,
    mark_entries,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
    sizes_in_words,
)
from attnlag.regression.labels import COVARIANCE, UNITS, correction_text
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_comparison",)

CATEGORY = "comparison"

SUBCATEGORY = "by relative depth"

CONTROL = "0.5"

# Colour-blind safe colours; the grey of the palette is reserved for controls.
COLOURS = [colour for colour in PALETTE if colour != "#949494"]

# One style for each round of the colours, or for each control.
DASHES: list[Any] = ["-", "-.", ":"]
DASHES_OF_CONTROLS: list[Any] = [(0, (4, 2)), (0, (1.5, 1.5)), (0, (6, 2, 1.5, 2))]


def line_styles(coefficients: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour, dashes and label of each model, in the order of the table."""
    learned = itertools.cycle(itertools.product(DASHES, COLOURS))
    controls = itertools.cycle(itertools.product(DASHES_OF_CONTROLS, [CONTROL]))
    styles: dict[str, dict[str, Any]] = {}
    for model, rows in coefficients.groupby("model", sort=False):
        control = rows["control"].iloc[0]
        dashes, colour = next(controls if control else learned)
        size = counted(int(rows["layer"].max()) + 1, "layer")
        label = f"random weights ({model}, {size})" if control else f"{model} ({size})"
        styles[str(model)] = {"color": colour, "linestyle": dashes, "label": label}
    return styles


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    coefficients : pandas.DataFrame
        Table of the comparison for one site and regression. The figure has a row of panels per
        lag and a column per corpus. A layer without an estimate is a gap, marked below in the
        colour of its model.
    alpha : float
        Level of significance; the bands are those of the table, 1 - ``alpha``.
    adjust : str
        The correction in ``p_adjusted``.
    negligible : float or None
        Coefficients shown to be within this bound are drawn as crosses.
    outcome : str
        Outcome of the regression.
    mixers : dict of str to dict
        What layers have in place of attention, by model and layer.
    """

    coefficients: pd.DataFrame
    alpha: float
    adjust: str
    negligible: float | None = None
    outcome: str = "norm"
    mixers: dict[str, dict[str, str]] = field(default_factory=dict)


def reduce(inputs: ComparisonInputs) -> Data:
    """Return the data without reducing the table."""
    return Data(
        inputs.coefficients,
        **inputs.inference,
        negligible=inputs.negligible,
        outcome=inputs.outcome,
        mixers=inputs.mixers_of_models,
    )


def title_of(data: Data) -> str:
    """Return the sizes of the nearest lag or lead in each model and with random weights."""
    coefficients = data.coefficients
    term = lags_among(list(coefficients["term"]))[0]
    rows = coefficients[coefficients["term"] == term]
    several = rows["corpus"].nunique() > 1
    sizes: dict[bool, dict[str, pd.Series]] = {False: {}, True: {}}
    for (model, corpus, control), of_model in rows.groupby(
        ["model", "corpus", "control"], sort=False
    ):
        name = f"{model}, {corpus}" if several else str(model)
        sizes[bool(control)][name] = of_model["estimate"]
    trained = sizes_in_words(term, sizes[False])
    random = pd.concat(sizes[True].values()).dropna() if sizes[True] else pd.Series(dtype=float)
    untrained = ""
    if len(random):
        untrained = (
            f"random weights {random.median():.2f} ({random.min():.2f} to {random.max():.2f})"
        )
    if trained is None:
        return f"Coefficients by relative depth{untrained and f': {named(term)}, {untrained}'}"
    return f"{trained}; {untrained}" if untrained else trained


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the coefficients of several models over relative depth.

    A narrow figure stacks the panels of all corpora.
    """
    coefficients, alpha, adjust = data.coefficients, data.alpha, data.adjust
    lags = lags_among(list(coefficients["term"]))
    coefficients = coefficients[coefficients["term"].isin(lags)]
    corpora = list(coefficients["corpus"].unique())
    styles = line_styles(coefficients)
    for model in styles.keys() & data.mixers.keys():
        label = styles[model]["label"].removesuffix(")")
        styles[model]["label"] = f"{label}, {NO_ATTENTION} no attention)"

    models = {kind["label"]: Line2D([], [], linewidth=2, **kind) for kind in styles.values()}
    marks = mark_entries(
        alpha,
        adjust,
        band=band_text(alpha),
        negligible=data.negligible,
        unfitted=bool(coefficients["estimate"].isna().any()),
    )
    strip = strip_height([models, marks], size.canvas)
    across = 1 if size.narrow else len(corpora)
    down = len(lags) * len(corpora) // across
    panel = 2.7 if down <= 2 and not size.narrow else 2.0
    figure = Figure(figsize=size.tall(1.3 + strip + panel * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False)
    for row, (lag, of_lag) in enumerate(zip(lags, panels.reshape(len(lags), -1), strict=True)):
        for axes, corpus in zip(of_lag, corpora, strict=True):
            # All corpora share the scale of a lag.
            if axes is not of_lag[0]:
                axes.sharey(of_lag[0])
            rows = coefficients[(coefficients["term"] == lag) & (coefficients["corpus"] == corpus)]
            _draw_panel(axes, rows, styles, alpha, data.mixers)
            if row == 0 or size.narrow:
                axes.set_title(corpus, loc="left")
            axes.set_ylabel(f"coefficient of {named(lag)}")
            axes.label_outer()
    sns.despine(figure)
    figure.align_ylabels()

    note = (
        f"{PREDICTIVE} Coefficients: {UNITS[data.outcome]}. Standard errors: "
        f"{COVARIANCE[coefficients['vcov_type'].iloc[0]]}; "
        f"{correction_text(adjust, 'the layers of a model')}."
    )
    if coefficients["control"].any():
        note += " Random weights are a control: their coefficients are not learned."
    depth = "relative depth (first layer 0, last layer 1)"
    frame(figure, title, note, x_label=depth, legends=[models, marks])
    return figure


def _draw_panel(
    axes: Axes,
    coefficients: pd.DataFrame,
    styles: dict[str, dict[str, Any]],
    alpha: float,
    mixers: dict[str, dict[str, str]],
) -> None:
    """Draw one lag in one corpus: a line, a band and marks for each model."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    rule_values(axes)
    shade = 0.12 if len(styles) > 3 else 0.2
    for place, (model, kind) in enumerate(styles.items()):
        rows = coefficients[coefficients["model"] == model].sort_values("layer")
        depth = rows["depth"].to_numpy()
        # Controls are drawn behind their models.
        zorder = 2 if kind["color"] == CONTROL else 3
        dashes, size = kind["linestyle"], mark_size(len(rows))
        style_of = {"shade": shade, "size": size, "linestyle": dashes, "zorder": zorder}
        draw_profile(axes, depth, rows, kind["color"], alpha, **style_of)
        unfitted = depth[rows["estimate"].isna()]
        mark_unfitted(axes, unfitted, 0.03 + 0.035 * place, color=kind["color"])
        others = rows["layer"].isin(map(int, mixers.get(model, {})))
        mark_no_attention(axes.xaxis, depth[others], color=kind["color"])
    axes.margins(y=0.08)
    axes.set_xlim(-0.02, 1.02)
    axes.set_xticks(np.linspace(0, 1, 6))
