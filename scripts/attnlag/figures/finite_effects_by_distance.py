"""Effect of finite interventions by distance in layers, beside predictions of the derivative."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet

DRAWN_BY = ("plot_effects",)
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "finite interventions"
METHOD = (
    "Finite interventions replace one adjustment of one token by a multiple of it, by zero, "
    "by the layer's mean or by that of another token."
)

# Colours of interventions other than scaling.
HUES = {"zero": PALETTE[3], "mean": PALETTE[1], "resample": PALETTE[4]}

# Effects on norms, by distance in tokens, and on the prediction of the next token.
LAGS = {0: "same token", 1: "next token"}
NEXT_TOKEN = {"kl_divergence": "KL divergence (nats)", "surprisal": "change of surprisal (nats)"}


def figure(inputs: Inputs) -> Sheet:
    """Return the effects on predictions, and on norms with a panel per lag."""
    effects = inputs.elasticities[inputs.elasticities["source_site"] == inputs.source]
    on_norms = of_pair(inputs, effects)
    on_norms = on_norms.assign(distance=on_norms["target_layer"] - on_norms["source_layer"])
    on_norms = on_norms[on_norms["distance"] > 0]
    finite = finite_interventions(on_norms)
    if finite.empty:
        return Sheet("No finite intervention was made before an observed layer")
    derivative = on_norms[on_norms["intervention"] == "derivative"]
    derivative = derivative[derivative["source_layer"].isin(finite["source_layer"])]
    panels = []
    for target, label in NEXT_TOKEN.items():
        rows = finite_interventions(effects[effects["target_site"] == target])
        x = np.array(sorted(rows["lag"].unique()))
        lines = lines_over(rows, "lag", x)
        panels.append(Lines(lines, label, "prediction of the next token", x, "tokens after"))
    for lag, title in LAGS.items():
        rows, predicted = finite[finite["lag"] == lag], derivative[derivative["lag"] == lag]
        x = np.array(sorted(rows["distance"].unique()))
        y = predicted.groupby("distance")["estimate"].mean().reindex(x).to_numpy(dtype=float)
        derived = Line(y, "derivative, for scaling", "k", linestyle=(0, (1, 1.2)))
        lines = [*lines_over(rows, "distance", x), derived]
        panels.append(Lines(lines, "Δ log norm", title, x, "layers after"))
    near = effects[(effects["target_site"] == "kl_divergence") & (effects["lag"] == 0)]
    largest = near.groupby("intervention", observed=True)["estimate"].max()
    layers = ", ".join(map(str, sorted(finite["source_layer"].unique())))
    return Sheet(
        f"The intervention '{largest.idxmax()}' changes the prediction of the next token most, by "
        f"{number(largest.max())} nats"
        if len(largest)
        else "Finite interventions",
        [],
        panels,
        f"One token of a document is changed at a time, in layer {layers}. Effects are Δ log norm, "
        "divided by the log of the factor for scaling. A change of direction has no derivative.",
        across=2,
        alpha=inputs.alpha,
    )


def finite_interventions(effects: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of finite interventions, with the label of each."""
    finite = effects[effects["intervention"] != "derivative"]
    kind = finite["intervention"].astype(str)
    scaled = finite["alpha"].map("scale by {:g}".format)
    return finite.assign(label=scaled.where(kind == "scale", kind))


def colours_of(interventions: pd.DataFrame) -> dict[str, Any]:
    """Return a colour for each label of interventions: scales first, by factor."""
    labels = interventions.sort_values("alpha")["label"].unique()
    scales = [label for label in labels if label not in HUES]
    shades = dict(zip(scales, sns.color_palette("viridis", len(scales)), strict=True))
    return shades | {kind: hue for kind, hue in HUES.items() if kind in labels}


def lines_over(rows: pd.DataFrame, column: str, x: np.ndarray) -> list[Line]:
    """Return a line with its band for each intervention, means over the source layers."""
    means = rows.groupby(["label", column])[["estimate", *BOUNDS]].mean()
    lines = []
    for label, colour in colours_of(rows).items():
        y, low, high = means.loc[label].reindex(x).to_numpy(dtype=float).T
        lines.append(Line(y, label, colour, low, high, shade=0.15))
    return lines
