"""Mean log norm by part of speech and layer, for tokens that begin a word and for continuations."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from attnlag.adjustments.sites import SITES
from attnlag.figures.drawing import (
    DIVERGING,
    draw_map,
    frame,
    label_cells,
    layers_labelled,
    reach_of,
)
from attnlag.figures.files import style
from attnlag.figures.inputs.norms import NormsInputs
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.wording import (
    tokens_shown,
)
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)

CATEGORY = "norms"

SUBCATEGORY = "by kind of token"

# Smallest number of tokens whose mean a cell shows.
FEWEST_TOKENS = 20

# Class of tokens without a part of speech.
UNTAGGED = "none"

PANELS = ("tokens that begin a word, and white space", "continuations of words")


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    classes : list of str
        Parts of speech, largest norms first.
    counts : (2, classes) int array
        Number of tokens that begin a word or belong to none, and of all others (continuations).
    means : (2, classes, layers) float array
        Means of their log norms, minus the mean of the layer; NaN with fewer than twenty tokens.
    share : (layers,) float array
        Share of the variance of log norms between parts of speech, over tokens that have one.
    by_chance : float
        Expected share if parts of speech were assigned at random.
    layers : list of int
    site : str
    tokens : int
        Number of tokens in the corpus, of which the maps may show a sample.
    """

    classes: list[str]
    counts: np.ndarray
    means: np.ndarray
    share: np.ndarray
    by_chance: float
    layers: list[int]
    site: str
    tokens: int


def share_between(values: np.ndarray, classes: np.ndarray) -> float:
    """Return the share of the variance of values that lies between classes.

    Parameters
    ----------
    values : (n,) float array
        May contain NaN, which is ignored.
    classes : (n,) array
    """
    known = np.isfinite(values)
    by_class = pd.Series(values[known]).groupby(classes[known])
    between = ((by_class.mean() - values[known].mean()) ** 2 * by_class.size()).sum()
    whole = ((values[known] - values[known].mean()) ** 2).sum()
    return float(between / whole) if whole > 0 else np.nan


def reduce(inputs: NormsInputs) -> Data:
    """Reduce the norms to means by part of speech and position in the word."""
    sample = inputs.sample
    kept = sample.position >= inputs.settings.drop_first
    rows = sample.rows[kept]
    read = {
        name: tables.values_of(inputs.properties, name, rows)
        for name in ("upos", "word", "word_initial")
    }
    upos = read["upos"].astype(str)
    goes_on = (read["word"].astype(int) >= 0) & ~read["word_initial"].astype(bool)
    names = sorted(map(str, set(upos)))
    counts = np.zeros((2, len(names)), int)
    means = np.full((2, len(names), len(sample.layers)), np.nan)
    tagged = upos != UNTAGGED
    share = np.full(len(sample.layers), np.nan)
    for place, logs in enumerate(sample.log_norms):
        frame_of = pd.DataFrame({"logs": logs[kept], "upos": upos, "part": goes_on.astype(int)})
        frame_of["logs"] -= frame_of["logs"].mean()
        found = frame_of.groupby(["part", "upos"])["logs"].agg(["mean", "size"])
        for part in range(2):
            if part in found.index.get_level_values(0):
                of_part = found.loc[part].reindex(names)
                counts[part] = of_part["size"].fillna(0)
                means[part, :, place] = of_part["mean"].where(of_part["size"] >= FEWEST_TOKENS)
        if tagged.any():
            share[place] = share_between(logs[kept][tagged], upos[tagged])
    level = pd.DataFrame(means[0]).mean(axis=1).fillna(-np.inf)
    # Untagged tokens come last.
    last = np.array(names) == UNTAGGED
    order = np.lexsort([-level.to_numpy(), last])
    return Data(
        classes=[names[place] for place in order],
        counts=counts[:, order],
        means=means[:, order],
        share=share,
        by_chance=(len(set(upos[tagged])) - 1) / max(int(tagged.sum()) - 1, 1),
        layers=sample.layers,
        site=inputs.site,
        tokens=sample.tokens,
    )


def title_of(data: Data) -> str:
    """Return the share of the variance due to parts of speech, and the share by chance."""
    if not np.isfinite(data.share).any():
        return "No token has a part of speech"
    low, high = np.nanargmin(data.share), np.nanargmax(data.share)
    return (
        f"Parts of speech account for {data.share[low]:.0%} (layer {data.layers[low]}) to "
        f"{data.share[high]:.0%} (layer {data.layers[high]}) of the variance of log norms; "
        f"assigned at random, for {data.by_chance:.2%}"
    )


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the mean log norm by part of speech and layer, for both kinds of tokens."""
    rows = len(data.classes)
    if size.narrow:
        height, shape = 2.4 + 0.42 * rows, (2, 1)
    else:
        height, shape = 2.1 + 0.21 * rows, (1, 2)
    figure = Figure(figsize=size.tall(height), layout="constrained")
    panels = list(figure.subplots(*shape, squeeze=False).flat)
    reach = reach_of(data.means)
    bar: dict[str, Any] = {"pad": 0.01, "aspect": 22, "extend": "both"}
    label = "mean log norm, minus the layer's mean"
    for axes, means, counts, heading in zip(panels, data.means, data.counts, PANELS, strict=True):
        draw_map(axes, means, DIVERGING, -reach, reach, label=label, **bar)
        label_cells(axes.xaxis, data.layers, layers_labelled(axes))
        axes.set_yticks(
            np.arange(rows) + 0.5,
            [f"{name} ({count:,})" for name, count in zip(data.classes, counts, strict=True)],
        )
        axes.tick_params(axis="y", left=False, labelrotation=0)
        axes.set_xlabel("layer")
        axes.set_title(heading, loc="left", weight="bold")
    sns.despine(figure)
    added, shown = SITES[data.site].label, tokens_shown(data.tokens)
    frame(
        figure,
        title,
        f"{added[0].upper()}{added[1:]}, {shown} except the dropped ones; number of tokens in "
        "brackets. Natural logarithms; both maps share one scale, whose colours saturate for the "
        "most extreme 2% of the cells. Universal parts of speech from the tagger; "
        f"{UNTAGGED}: documents without tags; SPACE: white space. Grey: fewer than "
        f"{FEWEST_TOKENS} tokens.",
    )
    return figure
