"""Share, lag and attention sink of each attention head by layer, and the floor of the norms."""

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
from attnlag.figures.inputs.vectors import HeadsInputs
from attnlag.figures.legends import (
    GREY,
    PALETTE,
    PERMUTED,
    RANDOM_LINE,
    band_text,
    strip_height,
)
from attnlag.figures.sizes import PAGE, Size
from attnlag.regression.heads import ABOVE, FLOOR, WHOLE
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_heads",)

CATEGORY = "directions"

SUBCATEGORY = "heads"


# Text of the figure if no token has norms of heads.
NOTHING = "No tokens remain: all are first tokens or have no norms."

# Names of the controls of single heads.
CONTROLS = {"permuted_mean": "permuted order", "random_weights": "random weights"}


@dataclass
class Data:
    """Heads and layers.

    Attributes
    ----------
    share, sink, lag : pandas.DataFrame
        A row per layer and a column per head; empty without heads. The last two are NaN if unknown.
    controls : dict of str to pandas.DataFrame
        In the same form, the lag in each available one of ``CONTROLS``.
    at_floor : pandas.Series
        By layer, the share of tokens at the floor.
    whole, above : pandas.DataFrame
        By layer, the lag over all tokens and over those above the floor; may be empty.
    term : str
        The lag.
    regression : str
        Name of the regression with the same terms.
    tokens : int
        Number of tokens in the means of attention sinks.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    share: pd.DataFrame
    sink: pd.DataFrame
    lag: pd.DataFrame
    controls: dict[str, pd.DataFrame]
    at_floor: pd.Series
    whole: pd.DataFrame
    above: pd.DataFrame
    term: str
    regression: str
    tokens: int
    alpha: float


def reduce(inputs: HeadsInputs) -> Data:
    """Arrange the rows of heads in tables of layers and heads."""
    parts = inputs.heads
    by_head = parts[parts["part"] != WHOLE]
    whole = parts[parts["part"] == WHOLE].set_index("layer")
    term = (lags_among(list(inputs.coefficients["term"])) or ["lag_1"])[0]
    lags = inputs.coefficients[inputs.coefficients["term"] == term]
    share, sink = (_spread(by_head, name) for name in ("share", "sink"))
    of_heads = lags[~lags["part"].isin([WHOLE, ABOVE])]
    of_all, above = (lags[lags["part"] == part].set_index("layer") for part in (WHOLE, ABOVE))
    return Data(
        share,
        sink,
        _spread(of_heads, "estimate").reindex_like(share),
        {
            name: _spread(of_heads, name).reindex_like(share)
            for name in CONTROLS
            if of_heads[name].notna().any()
        },
        whole["at_floor"],
        of_all,
        above,
        term=term,
        regression=inputs.regression,
        tokens=int(parts["sink_tokens"].max()) if len(parts) else 0,
        alpha=inputs.alpha,
    )


def _spread(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return one column of a table of heads, a row per layer and a column per head."""
    rows = rows.assign(head=rows["part"].astype(int))
    return rows.pivot(index="layer", columns="head", values=name).astype(float)


def title_of(data: Data) -> str:
    """Return the median lag of heads, its controls and that of their sum, and the largest floor."""
    if data.share.empty:
        return "No heads were found"
    if data.share.isna().all(axis=None):
        return NOTHING
    at_floor = f"up to {data.at_floor.max():.0%} of a layer's tokens are at the floor"
    at_floor += f" (layer {data.at_floor.idxmax()})"
    lags = data.lag.stack().dropna()
    if lags.empty:
        return f"No lags of heads were fitted; {at_floor}"
    beside = [
        # Avoids a negative zero.
        f"{np.round(np.nanmedian(values), 2) + 0.0:.2f} with {CONTROLS[name]}"
        for name, values in data.controls.items()
    ]
    text = f"{named(data.term).capitalize()} of a head: median {lags.median():.2f}"
    text += f" ({', '.join(beside)})" if beside else ""
    return f"{text}, of their sum {data.whole['estimate'].median():.2f}; {at_floor}"


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw maps of shares, lags and sinks, the lags of heads beside the controls, and the floor."""
    known = {
        "share of each head": not data.share.isna().all(axis=None),
        f"{named(data.term)} of each head": not data.lag.isna().all(axis=None),
        "attention to the first token": not data.sink.isna().all(axis=None),
    }
    maps = [heading for heading, there in known.items() if there]
    fitted = not data.lag.isna().all(axis=None)
    legends = [_entries(data)]
    height = (2.5 * (len(maps) + 1 + fitted) + 0.6) if size.narrow else 6.6
    figure = Figure(
        figsize=size.tall(height + strip_height(legends, size.canvas)), layout="constrained"
    )
    if not maps:
        unknown = "The output projection of this model's attention is not known."
        frame(figure, title, unknown if data.share.empty else NOTHING)
        return figure
    upper, lower = _panels(figure, len(maps), 1 + fitted, size)
    viridis = sns.color_palette("viridis", as_cmap=True)
    bar: dict[str, Any] = {"pad": 0.02, "aspect": 20}
    for axes, heading in zip(upper, maps, strict=True):
        place = list(known).index(heading)
        values = (100 * data.share, data.lag, 100 * data.sink)[place].to_numpy(dtype=float)
        bar["label"] = ("share (%)", _unit(data, size), "attention (%)")[place]
        if place == 1:
            reach = reach_of(values)
            draw_map(axes, values.T, DIVERGING, -reach, reach, extend="both", **bar)
        else:
            highest = float(np.nanmax(values)) if place == 0 else 100
            draw_map(axes, values.T, viridis, 0, highest, **bar)
        axes.set_ylim(0, values.shape[1])
        label_cells(axes.xaxis, list(data.share.index), 8)
        label_cells(axes.yaxis, list(map(int, data.share.columns)), 5 if size.flat else 10)
        axes.set_xlabel("layer")
        axes.set_ylabel("head")
        axes.set_title(heading, loc="left", weight="bold")
    if fitted:
        _draw_heads(lower[0], data, size)
    _draw_floor(lower[-1], data, size)
    frame(figure, title, _footnote(data), legends=legends)
    return figure


def _unit(data: Data, size: Size) -> str:
    """Return the label of a lag, with its unit if there is room."""
    return named(data.term) if size.flat else f"{named(data.term)}\n(log norm per log norm)"


def _entries(data: Data) -> dict[str, Any]:
    """Return the legend."""
    entries: dict[str, Any] = {
        "all tokens": Line2D([], [], color=PALETTE[0], marker="o", ms=5, linewidth=1.5),
        "above the floor": Line2D([], [], color=PALETTE[1], marker="s", ms=5, linewidth=1.5),
        band_text(data.alpha): Patch(color=GREY, alpha=0.25, linewidth=0),
        "tokens at the floor": Patch(color="0.78", linewidth=0),
        "a head": Line2D([], [], color=PALETTE[2], marker="o", ms=3, linestyle="none"),
        "median head": Line2D([], [], color=PALETTE[2], linewidth=1.8),
    }
    if "permuted_mean" in data.controls:
        entries["median head, permuted order"] = Line2D([], [], color=PERMUTED, linewidth=2.5)
    if "random_weights" in data.controls:
        entries["median head, random weights"] = Line2D([], [], **RANDOM_LINE)
    return entries


def _panels(figure: Figure, above: int, below: int, size: Size) -> tuple[list[Axes], list[Axes]]:
    """Return the panels of maps, and those below them."""
    counts = [1] * (above + below) if size.narrow else [above, below]
    # Each row has separate margins.
    parts: Any = figure.subfigures(len(counts), 1)
    panels = [
        axes
        for part, count in zip(parts, counts, strict=True)
        for axes in part.subplots(1, count, squeeze=False)[0]
    ]
    return panels[:above], panels[above:]


def _draw_heads(axes: Axes, data: Data, size: Size) -> None:
    """Draw the lag of every head by layer, their median, and those of the controls."""
    layers = data.lag.index.to_numpy(dtype=float)
    rule_values(axes)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    colour = PALETTE[2]
    for head in data.lag.columns:
        dots: dict[str, Any] = {"linestyle": "none", "marker": "o", "ms": 2.2, "alpha": 0.6}
        axes.plot(layers, data.lag[head].to_numpy(float), color=colour, mew=0, **dots)
    medians = {name: values.median(axis=1) for name, values in data.controls.items()}
    if "permuted_mean" in medians:
        axes.plot(
            layers, medians["permuted_mean"].to_numpy(), color=PERMUTED, linewidth=2.5, zorder=1.7
        )
    if "random_weights" in medians:
        axes.plot(layers, medians["random_weights"].to_numpy(), zorder=1.8, **RANDOM_LINE)
    axes.plot(layers, data.lag.median(axis=1).to_numpy(float), color=colour, linewidth=1.8)
    axes.set_ylabel(_unit(data, size))
    axes.set_title("single heads", loc="left", weight="bold")
    label_layers(axes, list(data.lag.index))


def _draw_floor(axes: Axes, data: Data, size: Size) -> None:
    """Draw the lag of the sum with and without the floor, and the share of tokens there."""
    layers = list(data.share.index)
    rule_values(axes)
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    beside = axes.twinx()
    beside.bar(layers, 100 * data.at_floor.to_numpy(float), color="0.78", zorder=0)
    beside.set_ylim(0, 100)
    beside.set_ylabel("at the floor (%)")
    # The lines are above the bars, whose axis is the second one.
    axes.set_zorder(beside.get_zorder() + 1)
    axes.patch.set_visible(False)
    for place, rows in enumerate((data.whole, data.above)):
        _draw_lags(axes, rows, PALETTE[place], "os"[place])
    axes.set_ylabel(_unit(data, size))
    axes.set_title("the sum of the heads", loc="left", weight="bold")
    label_layers(axes, layers)


def _draw_lags(axes: Axes, rows: pd.DataFrame, colour: str, marker: str) -> None:
    """Draw coefficients by layer and their band."""
    layers = rows.index.to_numpy(dtype=float)
    lag, low, high = (rows[n].to_numpy(dtype=float) for n in ("estimate", "conf_low", "conf_high"))
    draw_band(axes, layers, low, high, color=colour, alpha=0.25)
    mark: dict[str, Any] = {"marker": marker, "ms": mark_size(len(layers)), "linewidth": 1.5}
    axes.plot(layers, lag, color=colour, **mark)


def _footnote(data: Data) -> str:
    """Return the footnote."""
    count = data.share.shape[1]
    text = f"Share of the squared norms of all heads; equal heads would have {100 / count:.0f}%. "
    if len(data.whole):
        text += (
            f"{named(data.term).capitalize()} with the terms of '{data.regression}', of the norm "
            "of each head's vector and of the attention adjustment; colours saturate for the most "
            "extreme 2% of the cells. "
        )
    if "random_weights" in data.controls:
        text += "Random weights are not corrected for bias. "
    if data.tokens:
        text += f"Attention: mean over {data.tokens:,} tokens at the beginnings of sequences. "
    return text + (
        f"At the floor: tokens whose heads have norms within {FLOOR:.0%} of those of the first "
        "token of their sequence, which attends only to itself."
    )
