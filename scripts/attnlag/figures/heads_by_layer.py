"""Share and lag 1 of each attention head by layer, and the floor of the norms."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from attnlag.figures.drawing import (
    DIVERGING,
    draw_band,
    draw_map,
    frame,
    label_cells,
    label_layers,
    mark_size,
    reach_of,
    rule_values,
)
from attnlag.figures.files import style
from attnlag.figures.inputs import HeadsInputs
from attnlag.figures.legends import GREY, PALETTE, band_text, strip_height
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.heads import ABOVE, FLOOR, WHOLE

DRAWN_BY = ("plot_heads",)

CATEGORY = "directions"

SUBCATEGORY = "heads"


# What is said where no token has norms of heads.
NOTHING = "No token counts: all are first tokens, or have no norms."


@dataclass
class Data:
    """Heads and layers.

    Attributes
    ----------
    share, lag : pandas.DataFrame
        A row per layer, a column per head; empty without heads.
    whole, above : pandas.DataFrame
        By layer: of all tokens, and of those above the floor.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    share: pd.DataFrame
    lag: pd.DataFrame
    whole: pd.DataFrame
    above: pd.DataFrame
    alpha: float


def reduce(inputs: HeadsInputs) -> Data:
    """Spread the rows of heads over tables of layers and heads."""
    table = inputs.heads
    by_head = table[~table["part"].isin([WHOLE, ABOVE])]
    by_head = by_head.assign(head=by_head["part"].astype(int))
    share, lag = (
        by_head.pivot(index="layer", columns="head", values=name) for name in ("share", "lag_1")
    )
    whole, above = (table[table["part"] == part].set_index("layer") for part in (WHOLE, ABOVE))
    return Data(share, lag, whole, above, inputs.alpha)


def title_of(data: Data) -> str:
    """Return the median lag of heads beside that of their sum, and where the floor is."""
    if data.share.empty:
        return "No heads were found"
    if data.share.isna().all(axis=None):
        return NOTHING
    floor = data.whole["at_floor"]
    at_floor = f"up to {floor.max():.0%} of a layer's tokens are at the floor"
    at_floor += f" (layer {floor.idxmax()})"
    lags = data.lag.stack().dropna()
    if lags.empty:
        return f"Too few documents for the lags of heads; {at_floor}"
    whole = data.whole["lag_1"].median()
    return f"Lag 1 of a head: median {lags.median():.2f}, of their sum {whole:.2f}; {at_floor}"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw a map of shares, one of lags, and the lags of layers with and without the floor."""
    entries: dict[str, Any] = {
        "all tokens": Line2D([], [], color=PALETTE[0], marker="o", ms=5, linewidth=1.5),
        "above the floor": Line2D([], [], color=PALETTE[1], marker="s", ms=5, linewidth=1.5),
        band_text(data.alpha): Patch(color=GREY, alpha=0.25, linewidth=0),
        "share at the floor": Patch(color="0.8", linewidth=0),
    }
    height = (10.0 if size.narrow else 7.0) + strip_height([entries], size.canvas)
    figure = Figure(figsize=size.tall(height), layout="constrained")
    if data.share.isna().all(axis=None):
        unknown = "The output projection of this model's attention is not known."
        frame(figure, title, unknown if data.share.empty else NOTHING)
        return figure
    layers, heads = list(data.share.index), list(map(int, data.share.columns))
    grid = figure.add_gridspec(3, 1) if size.narrow else figure.add_gridspec(2, 2)
    places = [grid[0], grid[1], grid[2]] if size.narrow else [grid[0, 0], grid[0, 1], grid[1, :]]
    shares, lags, below = (figure.add_subplot(place) for place in places)
    bar: dict[str, Any] = {"pad": 0.02, "aspect": 20}
    viridis = sns.color_palette("viridis", as_cmap=True)
    share = 100 * data.share.to_numpy(float)
    label = "share of squared norms (%)"
    draw_map(shares, share.T, viridis, 0, float(np.nanmax(share)), label=label, **bar)
    lag = data.lag.to_numpy(float)
    reach = reach_of(lag)
    label = "lag 1 (log norm per log norm)"
    draw_map(lags, lag.T, DIVERGING, -reach, reach, label=label, extend="both", **bar)
    for axes, heading in ((shares, "share of each head"), (lags, "lag 1 of each head")):
        axes.set_ylim(0, len(heads))
        label_cells(axes.xaxis, layers, 8)
        label_cells(axes.yaxis, heads, 10)
        axes.set_xlabel("layer")
        axes.set_ylabel("head")
        axes.set_title(heading, loc="left", weight="bold")
    rule_values(below)
    below.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    beside = below.twinx()
    beside.bar(layers, 100 * data.whole["at_floor"].to_numpy(float), color="0.85", zorder=0)
    beside.set_ylim(0, 100)
    beside.set_ylabel("tokens at the floor (%)")
    # The lines are above the bars, whose axis is the second one.
    below.set_zorder(beside.get_zorder() + 1)
    below.patch.set_visible(False)
    for place, rows in enumerate((data.whole, data.above)):
        _draw_lags(below, rows, PALETTE[place], "os"[place])
    below.set_ylabel("lag 1\n(log norm per log norm)")
    below.set_title("the sum of the heads", loc="left", weight="bold")
    label_layers(below, layers)
    frame(
        figure,
        title,
        "Lag 1 within documents, beside lag 2; of the norm of each head's vector, and of the "
        "attention adjustment. At the floor: tokens the norms of whose heads are within "
        f"{FLOOR:.0%} of those of their sequence's first token, which attends to itself alone; "
        "where all heads of a token attend to the first one, they write what it wrote. Equal heads "
        "would "
        f"have {100 / len(heads):.0f}% each. Colours of lags end where 2% of the cells lie beyond.",
        legends=[entries],
    )
    return figure


def _draw_lags(axes: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    """Draw coefficients by layer and their band."""
    layers = rows.index.to_numpy(dtype=float)
    lag, low, high = (rows[n].to_numpy(dtype=float) for n in ("lag_1", "conf_low", "conf_high"))
    draw_band(axes, layers, low, high, color=colour, alpha=0.25)
    mark: dict[str, Any] = {"marker": marker, "ms": mark_size(len(layers)), "linewidth": 1.5}
    axes.plot(layers, lag, color=colour, **mark)
