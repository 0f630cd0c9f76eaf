"""The figure of groups of documents: their norms and their coefficients, layer by layer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from attnlag.figures.drawing import (
    ADDED,
    MOST_SHOWN,
    NORMS,
    PREDICTIVE,
    correction_text,
    frame,
    label_layers,
    layers_labelled,
    open_frames,
    panel_width,
    shortened,
)
from attnlag.figures.files import style
from attnlag.figures.legends import GREY
from attnlag.figures.norms_by_position import DIVERGING, draw_map, reach_of
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.labels import COVARIANCE
from attnlag.regression.terms import named

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


@style()
def groups_by_layer(
    panels: Sequence[GroupPanel],
    coefficients: pd.DataFrame,
    *,
    term: str,
    title: str,
    site: str,
    alpha: float,
    adjust: str,
    tokens: int,
    size: Size = PAGE,
) -> Figure:
    """Draw norms and the nearest coefficient by group of documents, a row each.

    Parameters
    ----------
    panels : sequence of GroupPanel
        From the top.
    coefficients : pandas.DataFrame
        The tidy table of one term, with the groups as subsets.
    term : str
    title : str
    site : str
    alpha : float
        Level of significance.
    adjust : str
        The correction behind ``p_adjusted``.
    tokens : int
        Tokens of the corpus, of which the norms perhaps are a sample.
    size : Size
    """
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
        height = 3 * (0.9 + 0.15 * len(panels)) + 2.2
        figure = Figure(figsize=size.tall(height), layout="constrained")
        spread, levels, slopes = figure.subplots(3, 1, sharey=True)
    else:
        figure = Figure(figsize=size.tall(2.5 + 0.27 * len(panels)), layout="constrained")
        spread, levels, slopes = figure.subplots(1, 3, width_ratios=[1, 1.25, 1.25], sharey=True)

    for place, panel in enumerate(panels):
        lowest, low, middle, high, highest = panel.quantiles
        spread.hlines(place, lowest, highest, color=NORMS, linewidth=1.2)
        spread.hlines(place, low, high, color=NORMS, linewidth=6, alpha=0.55)
        spread.plot(middle, place, marker="|", color="k", markersize=9, markeredgewidth=1.6)
    spread.axvline(0, color=GREY, linewidth=0.8, zorder=1)
    spread.set_ylim(len(panels) - 0.5, -0.5)
    spread.set_yticks(
        range(len(panels)),
        [f"{shortened(panel.group, LONGEST_NAME)} ({panel.documents:,})" for panel in panels],
    )
    gap = " " if size.narrow else "\n"
    spread.set_xlabel(f"log norm (SD from the{gap}layer's mean), all layers")
    spread.grid(axis="x", color="0.9", linewidth=0.6)
    spread.set_title("norms", loc="left", weight="bold")

    for axes, values, heading, label in (
        (levels, means, "norms by layer", "mean log norm,\nless the layer's mean"),
        (
            slopes,
            estimates,
            f"coefficient of {named(term)}",
            "coefficient\n(log norm per log norm)",
        ),
    ):
        reach = reach_of(values)
        scale = Normalize(-reach, reach)
        draw_map(axes, values, layers, scale, DIVERGING)
        label_layers(axes, layers, most=layers_labelled(panel_width(axes)))
        axes.set_xlim(min(layers) - 0.5, max(layers) + 0.5)
        axes.set_title(heading, loc="left", weight="bold")
        figure.colorbar(
            ScalarMappable(scale, DIVERGING),
            ax=axes,
            location="right" if size.narrow else "bottom",
            label=label,
            extend="both",
            aspect=22,
            pad=0.02,
        )
    row, layer = np.nonzero(p_values >= alpha)
    # A cross for what is not significant: colours say how large, not how sure.
    slopes.plot(
        np.asarray(layers)[layer], row, linestyle="none", marker="x", color=GREY, markersize=3.2
    )
    open_frames(figure)
    kinds = coefficients["vcov_type"].iloc[0]
    of = "all tokens" if tokens <= MOST_SHOWN else f"a sample of {MOST_SHOWN:,} tokens"
    frame(
        figure,
        title,
        f"{ADDED[site][0].upper()}{ADDED[site][1:]}, {of} but the dropped ones, documents in "
        f"brackets. Norms: median, middle 50% and middle 90%. Coefficients: each group's own "
        f"regression; crosses where p ≥ {alpha:g}, {correction_text(adjust)}; standard errors "
        f"{COVARIANCE.get(kinds, kinds)}. Grey: not fitted. Colours end where 2% of the cells are "
        f"beyond. {PREDICTIVE}",
    )
    return figure


def of_groups(coefficients: pd.DataFrame, term: str, alpha: float) -> str:
    """Return in how many layers of all groups a term is significant."""
    rows = coefficients[coefficients["term"] == term].dropna(subset=["p_adjusted"])
    if rows.empty:
        return "Groups of documents"
    share = (rows["p_adjusted"] < alpha).groupby(rows["subset"], sort=False).mean()
    lag = named(term).capitalize()
    if share.nunique() == 1:
        return f"{lag} predicts in {share.iloc[0]:.0%} of the layers of every group"
    return (
        f"{lag} predicts in {share.min():.0%} ({share.idxmin()}) to "
        f"{share.max():.0%} ({share.idxmax()}) of the layers"
    )
