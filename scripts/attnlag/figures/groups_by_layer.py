"""Coefficient of the nearest lag by layer, for each group of documents."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    frame,
    label_cells,
    layers_labelled,
    reach_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.regressions import RegressionInputs
from attnlag.figures.legends import GREY
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    PREDICTIVE,
    shortened,
)
from attnlag.regression.groups import fitted_groups
from attnlag.regression.labels import COVARIANCE, UNITS, correction_text
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_regression",)

CATEGORY = "coefficients"

SUBCATEGORY = "by group of documents"

LONGEST_NAME = 22


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    coefficients : pandas.DataFrame
        The tidy table of one term, with the groups as subsets, from top to bottom.
    term : str
    alpha : float
        Level of significance.
    adjust : str
        The correction in ``p_adjusted``.
    outcome : str
        Outcome of the regression.
    """

    coefficients: pd.DataFrame
    term: str
    alpha: float
    adjust: str
    outcome: str = "norm"


def reduce(inputs: RegressionInputs) -> Data:
    """Select the nearest lag."""
    table = pd.read_parquet(inputs.groups_file)
    term = lags_among(list(table["term"]))[0]
    rows = table[table["term"] == term]
    return Data(rows, term, **inputs.inference, outcome=inputs.outcome)


def title_of(data: Data) -> str:
    """Return the smallest and the largest median coefficient of a group.

    Shares of significant layers would reflect the number of documents of each group.
    """
    rows = data.coefficients.dropna(subset=["estimate"])
    if rows.empty:
        return "No group of documents could be fitted separately"
    median = rows.groupby("subset", sort=False)["estimate"].median()
    lag = named(data.term).capitalize()
    if len(median) == 1:
        return f"{lag} is {median.iloc[0]:.2f} in the median layer ({shortened(median.index[0])})"
    low, high = (shortened(str(group)) for group in (median.idxmin(), median.idxmax()))
    return (
        f"{lag} differs by group: in the median layer {median.min():.2f} "
        f"({low}) to {median.max():.2f} ({high})"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the nearest coefficient by group of documents and layer, a row for each group."""
    coefficients = data.coefficients
    layers = sorted(coefficients["layer"].unique())
    documents = coefficients.groupby("subset", sort=False)["n_documents"].max()
    names = list(documents.index)
    estimates, p_values = (
        coefficients.pivot(index="subset", columns="layer", values=value)
        .reindex(index=names, columns=layers)
        .to_numpy(dtype=float)
        for value in ("estimate", "p_adjusted")
    )
    figure = Figure(figsize=size.tall(2.3 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    reach = reach_of(estimates)
    label = f"coefficient of {named(data.term)}\n({UNITS[data.outcome]})"
    bar = {"label": label, "extend": "both", "aspect": 22, "pad": 0.02}
    draw_map(axes, estimates, DIVERGING, -reach, reach, **bar)
    label_cells(axes.xaxis, layers, most=layers_labelled(axes))
    axes.set_xlabel("layer")
    axes.set_ylabel("")
    axes.set_yticks(
        np.arange(len(names)) + 0.5,
        [
            f"{shortened(str(name), LONGEST_NAME)} ({count:,})"
            for name, count in documents.astype(int).items()
        ],
        rotation=0,
    )
    axes.tick_params(axis="y", left=False)
    row, place = np.nonzero(p_values >= data.alpha)
    # Colours show the size of a coefficient; crosses mark those that are not significant.
    axes.plot(place + 0.5, row + 0.5, linestyle="none", marker="x", color=GREY, markersize=3.2)
    _, without = fitted_groups(coefficients)
    for group, status in without.items():
        where = len(layers) / 2, names.index(group) + 0.5
        axes.text(*where, f"not fitted: {status}", ha="center", va="center", fontsize=8, color=GREY)
    sns.despine(figure)
    frame(
        figure,
        title,
        f"One regression per group; documents in brackets. Crosses: p ≥ {data.alpha:g}, "
        f"{correction_text(data.adjust)}; standard errors "
        f"{COVARIANCE[coefficients['vcov_type'].iloc[0]]}. Grey: not fitted. Colours saturate for "
        f"the most extreme 2% of the cells. {PREDICTIVE}",
    )
    return figure
