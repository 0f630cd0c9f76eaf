"""Norms and the coefficient of the nearest lag by layer, for each group of documents."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document
from attnlag.figures.drawing import (
    DIVERGING,
    NORMS,
    PREDICTIVE,
    QUANTILES,
    correction_text,
    draw_map,
    frame,
    label_cells,
    layers_labelled,
    quantiles_of,
    reach_of,
    shortened,
    tokens_shown,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import RegressionInputs, sample_norms
from attnlag.figures.legends import GREY
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.groups import fitted_groups, largest_groups
from attnlag.regression.labels import COVARIANCE, OUTCOMES, UNITS, plural
from attnlag.regression.terms import lags_among, named
from attnlag.storage import tables

DRAWN_BY = ("plot_regression",)

CATEGORY = "coefficients"

SUBCATEGORY = "by group of documents"

LONGEST_NAME = 22


@dataclass
class GroupPanel:
    """One group of documents.

    Attributes
    ----------
    group : str
    documents : int
    quantiles : (5,) float array
        Of its log norms in all layers, each less its layer's mean and over its standard
        deviation.
    means : (layers,) float array
        Of its log norms, less the mean of the layer.
    """

    group: str
    documents: int
    quantiles: np.ndarray
    means: np.ndarray


@dataclass
class Data:
    """What the figure shows.

    Attributes
    ----------
    panels : list of GroupPanel
        From the top.
    coefficients : pandas.DataFrame
        The tidy table of one term, with the groups as subsets.
    term : str
    site : str
    alpha : float
        Level of significance.
    adjust : str
        The correction behind ``p_adjusted``.
    tokens : int
        Number of tokens in the corpus, of which the norms perhaps are a sample.
    outcome : str
        What the norms are, and the coefficients are of.
    """

    panels: list[GroupPanel]
    coefficients: pd.DataFrame
    term: str
    site: str
    alpha: float
    adjust: str
    tokens: int
    outcome: str = "norm"


def reduce(inputs: RegressionInputs) -> Data:
    """Reduce the norms to quantiles and means of each group, and choose the nearest lag."""
    table = pd.read_parquet(inputs.groups_file)
    term = lags_among(list(table["term"]))[0]
    group_of = group_by_document(inputs.corpus)
    shown = largest_groups(group_of)
    sample = sample_norms(inputs.norms, inputs.drop_first, inputs.stream, inputs.outcome)
    documents = pd.Index(tables.values_of(inputs.norms, "document", sample.rows))
    group = pd.Index(shown).get_indexer(documents.map(group_of))
    means = np.empty((len(shown), len(sample.layers)))
    for place, logs in enumerate(sample.log_norms):
        centred = pd.Series(logs - pd.Series(logs).mean())
        means[:, place] = centred.groupby(group).mean().reindex(range(len(shown)))
        logs[:] = centred / (centred.std(ddof=0) or np.nan)
    sizes = Counter(group_of.values())
    panels = [
        GroupPanel(name, sizes[name], quantiles_of(sample.log_norms[:, group == row]), means[row])
        for row, name in enumerate(shown)
    ]
    return Data(
        panels=panels,
        coefficients=table[table["term"] == term],
        term=term,
        site=table["site"].iloc[0],
        **inputs.inference,
        tokens=sample.tokens,
        outcome=inputs.outcome,
    )


def title_of(data: Data) -> str:
    """Return the smallest and the largest median coefficient of a group.

    Shares of significant layers would say how many documents each group has.
    """
    rows = data.coefficients.dropna(subset=["estimate"])
    if rows.empty:
        return "No group of documents has coefficients of its own"
    median = rows.groupby("subset", sort=False)["estimate"].median()
    lag = named(data.term).capitalize()
    if len(median) == 1:
        return f"{lag}, median over the layers: {median.iloc[0]:.2f} ({median.index[0]})"
    return (
        f"{lag}, median over the layers: {median.min():.2f} ({median.idxmin()}) to "
        f"{median.max():.2f} ({median.idxmax()})"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw norms and the nearest coefficient by group of documents, a row each."""
    panels, coefficients = data.panels, data.coefficients
    layers = sorted(coefficients["layer"].unique())
    names = [panel.group for panel in panels]
    estimates, p_values = (
        coefficients.pivot(index="subset", columns="layer", values=value)
        .reindex(index=names, columns=layers)
        .to_numpy(dtype=float)
        for value in ("estimate", "p_adjusted")
    )
    means = np.stack([panel.means for panel in panels])
    if size.narrow:
        height, shape, ratios = 4.9 + 0.45 * len(panels), (3, 1), [1.0]
    else:
        height, shape, ratios = 2.5 + 0.27 * len(panels), (1, 3), [1, 1.25, 1.25]
    figure = Figure(figsize=size.tall(height), layout="constrained")
    boxes, levels, slopes = figure.subplots(*shape, width_ratios=ratios, sharey=True)

    # The quartiles and the ends of five quantiles are these quantiles.
    quantiles = np.concatenate([panel.quantiles for panel in panels])
    sns.boxplot(
        x=quantiles,
        y=np.repeat(np.arange(len(panels)) + 0.5, len(QUANTILES)),
        orient="h",
        ax=boxes,
        whis=(0, 100),
        width=0.6,
        color=NORMS,
        linewidth=1,
        boxprops={"alpha": 0.6},
        medianprops={"linewidth": 1.8, "color": "k"},
        native_scale=True,
    )
    boxes.axvline(0, color=GREY, linewidth=0.8, zorder=0)
    gap = " " if size.narrow else "\n"
    logs = OUTCOMES[data.outcome]
    boxes.set_xlabel(f"{logs} (SD from the{gap}layer's mean), all layers")
    boxes.grid(axis="x", color="0.9", linewidth=0.6)
    boxes.set_title(plural(data.outcome), loc="left", weight="bold")

    of_norms = (f"{plural(data.outcome)} by layer", f"mean {logs},\nless the layer's mean")
    of_slopes = (f"coefficient of {named(data.term)}", f"coefficient\n({UNITS[data.outcome]})")
    bar: dict[str, Any] = {
        "location": "right" if size.narrow else "bottom",
        "aspect": 22,
        "pad": 0.02,
    }
    for axes, values, (heading, label) in (
        (levels, means, of_norms),
        (slopes, estimates, of_slopes),
    ):
        reach = reach_of(values)
        draw_map(axes, values, DIVERGING, -reach, reach, label=label, extend="both", **bar)
        label_cells(axes.xaxis, layers, most=layers_labelled(axes))
        axes.set_xlabel("layer")
        axes.tick_params(axis="y", left=False)
        axes.set_title(heading, loc="left", weight="bold")
    boxes.set_ylim(len(panels), 0)
    boxes.set_yticks(
        np.arange(len(panels)) + 0.5,
        [f"{shortened(panel.group, LONGEST_NAME)} ({panel.documents:,})" for panel in panels],
    )
    row, place = np.nonzero(p_values >= data.alpha)
    # A cross for what is not significant: colours say how large, not how sure.
    slopes.plot(place + 0.5, row + 0.5, linestyle="none", marker="x", color=GREY, markersize=3.2)
    _, without = fitted_groups(coefficients)
    for group, status in without.items():
        where = len(layers) / 2, names.index(group) + 0.5
        slopes.text(*where, status, ha="center", va="center", fontsize=7, color=GREY)
    sns.despine(figure)
    kinds = coefficients["vcov_type"].iloc[0]
    added, of = SITES[data.site].label, tokens_shown(data.tokens)
    frame(
        figure,
        title,
        f"{added[0].upper()}{added[1:]}, {of} but the dropped ones, documents in "
        f"brackets. Norms: median, middle 50% and middle 90%. Coefficients: each group's own "
        f"regression; crosses where p ≥ {data.alpha:g}, {correction_text(data.adjust)}; "
        f"standard errors {COVARIANCE[kinds]}. Grey: not fitted. Colours "
        f"end where 2% of the cells are beyond. {PREDICTIVE}",
    )
    return figure
