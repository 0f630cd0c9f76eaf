"""Norms by group of documents: their spread over all layers, and their means by layer."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document, largest_groups
from attnlag.figures.drawing import (
    DIVERGING,
    NORMS,
    QUANTILES,
    draw_map,
    frame,
    label_cells,
    layers_labelled,
    quantiles_of,
    reach_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.norms import NormsInputs
from attnlag.figures.legends import GREY
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    shortened,
    tokens_shown,
)
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "by group of documents"

LONGEST_NAME = 22


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    groups : list of str
        From top to bottom.
    documents : list of int
        Number of documents of each group.
    quantiles : (groups, 5) float array
        Quantiles of the log norms in all layers, standardised within layers.
    means : (groups, layers) float array
        Means of the log norms, minus the mean of the layer.
    layers : list of int
    site : str
    tokens : int
        Number of tokens in the corpus, of which the figure may show a sample.
    """

    groups: list[str]
    documents: list[int]
    quantiles: np.ndarray
    means: np.ndarray
    layers: list[int]
    site: str
    tokens: int


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to quantiles and means of each group."""
    sample = inputs.sample
    kept = sample.position >= inputs.settings.drop_first
    group_of = group_by_document(inputs.corpus)
    groups = largest_groups(group_of)
    names = pd.Index(tables.values_of(inputs.norms, "document", sample.rows[kept]))
    group = pd.Index(groups).get_indexer(names.map(group_of))
    means = np.empty((len(groups), len(sample.layers)))
    scaled = np.empty((len(sample.layers), len(names)))
    for place, logs in enumerate(sample.log_norms):
        centred = pd.Series(logs[kept])
        centred -= centred.mean()
        means[:, place] = centred.groupby(group).mean().reindex(range(len(groups)))
        scaled[place] = centred / (centred.std(ddof=0) or np.nan)
    sizes = Counter(group_of.values())
    return Data(
        groups=groups,
        documents=[sizes[name] for name in groups],
        quantiles=np.stack([quantiles_of(scaled[:, group == row]) for row in range(len(groups))]),
        means=means,
        layers=sample.layers,
        site=inputs.site,
        tokens=sample.tokens,
    )


def title_of(data: Data) -> str:
    """Return the groups with the smallest and the largest typical norms."""
    if len(data.groups) == 1:
        return "The corpus has one group of documents, so there is nothing to compare"
    median = data.quantiles[:, QUANTILES.index(0.5)]
    if not np.isfinite(median).any():
        return "No group of documents has a finite norm other than zero"
    low, high = np.nanargmin(median), np.nanargmax(median)
    return (
        f"Norms differ by group: medians range from {median[low]:+.2f} SD "
        f"({shortened(data.groups[low])}) to {median[high]:+.2f} SD "
        f"({shortened(data.groups[high])}) from the layer's mean"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw norms by group of documents, a row each; with a single group there is no map."""
    rows, alone = len(data.groups), len(data.groups) == 1
    height = (3.4 + 0.32 * rows) if size.narrow else (2.3 + 0.27 * rows)
    shape = (1, 1) if alone else (2, 1) if size.narrow else (1, 2)
    figure = Figure(figsize=size.tall(height), layout="constrained")
    boxes, *maps = figure.subplots(*shape, sharey=True, squeeze=False).flat
    known = np.flatnonzero(np.isfinite(data.quantiles).all(axis=1))
    # seaborn's box and whiskers of these five quantiles are the quantiles themselves.
    if len(known):
        sns.boxplot(
            x=data.quantiles[known].ravel(),
            y=np.repeat(known + 0.5, len(QUANTILES)),
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
    boxes.set_xlabel("log norm (SD from the layer's mean), all layers")
    boxes.grid(axis="x", color="0.9", linewidth=0.6)
    for axes in maps:
        reach = reach_of(data.means)
        label = "mean log norm,\nminus the layer's mean"
        bar = {"label": label, "extend": "both", "aspect": 22, "pad": 0.02}
        draw_map(axes, data.means, DIVERGING, -reach, reach, **bar)
        label_cells(axes.xaxis, data.layers, most=layers_labelled(axes))
        axes.set_xlabel("layer")
        axes.tick_params(axis="y", left=False)
    boxes.set_ylim(rows, 0)
    boxes.set_yticks(
        np.arange(rows) + 0.5,
        [
            f"{shortened(group, LONGEST_NAME)} ({count:,})"
            for group, count in zip(data.groups, data.documents, strict=True)
        ],
    )
    sns.despine(figure)
    added = SITES[data.site].label
    frame(
        figure,
        title,
        f"{added[0].upper()}{added[1:]}, {tokens_shown(data.tokens)} except the dropped ones; "
        "documents in brackets. Boxes: median, middle 50% and middle 90%. Natural logarithms."
        + ("" if alone else " Colours saturate for the most extreme 2% of the cells."),
    )
    return figure
