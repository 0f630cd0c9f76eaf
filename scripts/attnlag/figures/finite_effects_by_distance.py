"""Effect of finite interventions by distance in layers, beside predictions of the derivative."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from attnlag.figures.drawing import draw_band, frame, rule_values
from attnlag.figures.files import style
from attnlag.figures.inputs.vectors import EffectsInputs
from attnlag.figures.legends import GREY, PALETTE, strip_height
from attnlag.figures.sizes import PAGE, Size

DRAWN_BY = ("plot_effects",)

CATEGORY = "interventions"

SUBCATEGORY = "finite interventions"

KINDS = ("scale", "zero", "mean", "resample")
LAGS = (0, 1)
PREDICTION: dict[str, Any] = {
    "color": "0.15",
    "marker": "D",
    "linestyle": "none",
    "ms": 4,
    "mfc": "none",
}
NEXT_TOKEN = {"kl_divergence": "KL divergence (nats)", "surprisal": "change of surprisal (nats)"}


@dataclass
class Data:
    """Data of the figure.

    Attributes
    ----------
    effects : pandas.DataFrame
        Finite interventions on norms, with ``distance`` in layers, of lags 0 and 1.
    derivative : pandas.DataFrame
        The elasticities of the same source layers.
    next_token : pandas.DataFrame
        Effects on the prediction of the next token.
    alpha : float
        Intervals cover 1 - ``alpha``.
    """

    effects: pd.DataFrame
    derivative: pd.DataFrame
    next_token: pd.DataFrame
    alpha: float


def reduce(inputs: EffectsInputs) -> Data:
    """Return the finite interventions of the pair of sites, with the derivative."""
    whole = inputs.elasticities
    table = inputs.of_pair(whole)
    table = table.assign(distance=table["target_layer"] - table["source_layer"])
    near = table[table["lag"].isin(LAGS) & (table["distance"] > 0)]
    finite = near[near["intervention"] != "derivative"]
    derivative = near[near["intervention"] == "derivative"]
    derivative = derivative[derivative["source_layer"].isin(finite["source_layer"])]
    of_next = whole["target_site"].isin(list(NEXT_TOKEN)) & (whole["source_site"] == inputs.source)
    return Data(finite, derivative, whole[of_next], inputs.alpha)


def title_of(data: Data) -> str:
    """Return the mean divergence of the prediction under the strongest intervention."""
    rows = data.next_token.query("target_site == 'kl_divergence' and lag == 0")
    if rows.empty:
        return "Finite interventions"
    by_kind = rows.groupby("intervention")["estimate"].max()
    return (
        f"The intervention '{by_kind.idxmax()}' changes the prediction of the next token most, by "
        f"{by_kind.max():.3f} nats"
    )


def lines_of(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Return the interventions in a table in order: label, kind, factor."""
    found = table[["intervention", "alpha"]].drop_duplicates()
    order = sorted(found.itertuples(index=False), key=lambda r: (KINDS.index(r[0]), r[1]))
    return [
        (f"scale by {alpha:g}" if kind == "scale" else kind, kind, alpha) for kind, alpha in order
    ]


def colours_of(lines: list[tuple[str, str, float]]) -> dict[str, Any]:
    """Return a colour for each intervention: scales from light to dark, ablations by hue."""
    scales = [label for label, kind, _ in lines if kind == "scale"]
    shades = sns.color_palette("viridis", len(scales) or 1)
    hues = dict(zip(KINDS[1:], (PALETTE[3], PALETTE[1], PALETTE[4]), strict=True))
    return {**dict(zip(scales, shades, strict=False)), **hues}


@style()
def draw(data: Data, *, title: str, size: Size = PAGE) -> Figure:
    """Draw the effects on norms, a column per kind and a row per lag, and on predictions below.

    A narrow figure shows only the effects on the changed token.
    """
    lines = lines_of(pd.concat([data.effects, data.next_token]))
    colours = colours_of(lines)
    kinds = [kind for kind in KINDS if any(kind == one for _, one, _ in lines)]
    lags = LAGS[:1] if size.narrow else LAGS
    per_row = 2 if size.narrow else max(len(kinds), 1)
    legend: dict[str, Any] = {label: Line2D([], [], color=colours[label]) for label, _, _ in lines}
    legend["predicted by the derivative"] = Line2D([], [], **PREDICTION)
    strip = strip_height([legend], size.canvas)
    rows = -(-max(len(kinds), 1) // per_row) * len(lags)
    figure = Figure(figsize=size.tall(1.9 * rows + 2.1 + strip + 1.4), layout="constrained")
    halves: Any = figure.subfigures(2, 1, height_ratios=[1.9 * rows, 2.1])
    above, below = halves
    grid = above.subplots(rows, per_row, sharex=True, sharey="row", squeeze=False)
    for place, axes in enumerate(grid.flat):
        # Ordered by kind, then by lag; a narrow figure has one lag.
        row, column = divmod(place, per_row)
        lag = lags[row] if not size.narrow else 0
        number = column if not size.narrow else place
        if number >= len(kinds):
            axes.set_visible(False)
            continue
        draw_kind(axes, data, kinds[number], lag, lines, colours)
        if row == 0 or size.narrow:
            axes.set_title(kinds[number], loc="left", weight="bold")
        if column == 0:
            axes.set_ylabel("same token" if lag == 0 else "next token")
        if row == rows - 1:
            axes.set_xlabel("layers after")
    panels = below.subplots(1, 2)
    for axes, (target, label) in zip(panels, NEXT_TOKEN.items(), strict=True):
        draw_next_token(axes, data.next_token[data.next_token["target_site"] == target], colours)
        axes.set_ylabel(label)
        axes.set_xlabel("tokens after")
    sns.despine(figure)
    layers = ", ".join(map(str, sorted(data.effects["source_layer"].unique()))) or "none"
    frame(
        figure,
        title,
        f"One token of a document is changed at a time, in layer {layers}. Effects are Δ log norm, "
        "divided by the log of the factor for scaling. The derivative predicts the elasticity for "
        "scaling and minus the elasticity for zero, in its target layers; it makes no prediction "
        f"for a change of direction. Bands: {100 * (1 - data.alpha):g}%, clustered by document; "
        "the lower panels have none.",
        legends=[legend],
    )
    return figure


def draw_kind(
    axes: Axes,
    data: Data,
    kind: str,
    lag: int,
    lines: list[tuple[str, str, float]],
    colours: dict[str, Any],
) -> None:
    """Draw the effects of one kind of intervention by distance, means over the source layers."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(axes)
    values = ["estimate", "conf_low", "conf_high"]
    for label, own, alpha in lines:
        if own != kind:
            continue
        same = data.effects["alpha"].eq(alpha) | np.isnan(alpha)
        rows = data.effects[
            (data.effects["intervention"] == kind) & (data.effects["lag"] == lag) & same
        ]
        means = rows.groupby("distance")[values].mean()
        x = means.index.to_numpy(dtype=float)
        y, low, high = (means[name].to_numpy(dtype=float) for name in values)
        draw_band(axes, x, low, high, color=colours[label], alpha=0.15)
        axes.plot(x, y, color=colours[label], linewidth=1.2)
    if kind in ("scale", "zero"):
        rows = data.derivative[data.derivative["lag"] == lag]
        sign = 1 if kind == "scale" else -1
        axes.plot(
            rows["distance"].to_numpy(dtype=float), sign * rows["estimate"], zorder=5, **PREDICTION
        )


def draw_next_token(axes: Axes, rows: pd.DataFrame, colours: dict[str, Any]) -> None:
    """Draw the effects of each intervention on the prediction of the next token, by distance."""
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1.6)
    rule_values(axes)
    for label, kind, alpha in lines_of(rows):
        same = rows["alpha"].eq(alpha) | np.isnan(alpha)
        own = rows[(rows["intervention"] == kind) & same].groupby("lag")["estimate"].mean()
        axes.plot(own.index, own, color=colours[label], marker="o", ms=3, linewidth=1.2)
    axes.set_xticks(sorted(rows["lag"].unique()))
