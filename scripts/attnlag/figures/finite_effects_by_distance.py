"""Effect of finite interventions by distance in layers, beside predictions of the derivative."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Notice, Sheet
from attnlag.figures.wording import number

DRAWN_BY = ("plot_effects",)
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "finite interventions"

KINDS = ("scale", "zero", "mean", "resample")

# Effects on norms, by distance in tokens, and on the prediction of the next token.
LAGS = {0: "same token", 1: "next token"}
NEXT_TOKEN = {"kl_divergence": "KL divergence (nats)", "surprisal": "change of surprisal (nats)"}


def figure(inputs: Inputs) -> Sheet:
    """Return the effects on predictions, and on norms with a panel per lag."""
    whole, own = inputs.elasticities, of_pair(inputs, inputs.elasticities)
    own = own.assign(distance=own["target_layer"] - own["source_layer"])
    own = own[own["distance"] > 0]
    finite = own[own["intervention"] != "derivative"]
    if finite.empty:
        return Notice("No finite intervention was made before an observed layer")
    derivative = own[own["intervention"] == "derivative"]
    derivative = derivative[derivative["source_layer"].isin(finite["source_layer"])]
    panels = []
    for target, label in NEXT_TOKEN.items():
        rows = whole[(whole["target_site"] == target) & (whole["source_site"] == inputs.source)]
        x = np.array(sorted(rows["lag"].unique()))
        lines = lines_over(rows, "lag", x)
        panels.append(Lines(lines, label, "prediction of the next token", x, "tokens after"))
    for lag, title in LAGS.items():
        rows, predicted = finite[finite["lag"] == lag], derivative[derivative["lag"] == lag]
        x = np.array(sorted(rows["distance"].unique()))
        lines = lines_over(rows, "distance", x)
        for line in lines:
            line.label = ""
        y = predicted.groupby("distance")["estimate"].mean().reindex(x).to_numpy(dtype=float)
        scale: dict[str, Any] = {"linestyle": "none", "marker": "D", "linewidth": 0}
        lines.append(Line(y, "derivative, for scaling", "k", **scale))
        panels.append(Lines(lines, "Δ log norm", title, x, "layers after"))
    near = whole[(whole["target_site"] == "kl_divergence") & (whole["lag"] == 0)]
    by_kind = near.groupby("intervention")["estimate"].max()
    layers = ", ".join(map(str, sorted(finite["source_layer"].unique())))
    return Sheet(
        f"The intervention '{by_kind.idxmax()}' changes the prediction of the next token most, by "
        f"{number(by_kind.max())} nats"
        if len(by_kind)
        else "Finite interventions",
        [],
        panels,
        f"One token of a document is changed at a time, in layer {layers}. Effects are Δ log norm, "
        "divided by the log of the factor for scaling. A change of direction has no derivative.",
        across=2,
        alpha=inputs.alpha,
    )


def lines_of(table: pd.DataFrame) -> dict[tuple[str, float], tuple[str, Any]]:
    """Return the label and colour of each intervention in a table: scales first, by factor."""
    found = table.loc[table["intervention"] != "derivative", ["intervention", "alpha"]]
    every = {(kind, float(alpha)) for kind, alpha in found.itertuples(index=False)}
    order = sorted({(k, None if np.isnan(a) else a) for k, a in every}, key=_place)
    scales = [one for one in order if one[0] == "scale"]
    shades = dict(zip(scales, sns.color_palette("viridis", len(scales) or 1), strict=False))
    hues = dict(zip(KINDS[1:], (PALETTE[3], PALETTE[1], PALETTE[4]), strict=True))
    return {
        (kind, np.nan if alpha is None else alpha): (
            (f"scale by {alpha:g}", shades[kind, alpha]) if kind == "scale" else (kind, hues[kind])
        )
        for kind, alpha in order
    }


def _place(one: tuple[str, float | None]) -> tuple[int, float]:
    return KINDS.index(one[0]), one[1] or 0.0


def of_line(table: pd.DataFrame, kind: str, alpha: float) -> pd.DataFrame:
    """Return the rows of a table for an intervention."""
    same = table["alpha"].eq(alpha) | np.isnan(alpha)
    return table[(table["intervention"] == kind) & same]


def lines_over(rows: pd.DataFrame, column: str, x: np.ndarray) -> list[Line]:
    """Return a line with its band for each intervention, means over the source layers."""
    lines = []
    for (kind, alpha), (label, colour) in lines_of(rows).items():
        means = of_line(rows, kind, alpha).groupby(column)[["estimate", *BOUNDS]].mean().reindex(x)
        y, low, high = (means[name].to_numpy(dtype=float) for name in ("estimate", *BOUNDS))
        lines.append(Line(y, label, colour, low, high, shade=0.15, marker="o"))
    return lines
