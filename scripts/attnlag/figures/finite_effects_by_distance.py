"""Effect of finite interventions by distance in layers, beside predictions of the derivative."""

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet

DRAWN_BY = "plot_effects"
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "finite interventions"

# Colours of interventions other than scaling.
HUES = {"zero": PALETTE[3], "mean": PALETTE[1], "resample": PALETTE[4]}

# Effects on norms, by distance in tokens, and on the prediction of the next token.
LAGS = {0: "same token", 1: "next token"}
NEXT_TOKEN = {"kl_divergence": "KL divergence (nats)", "surprisal": "change of surprisal (nats)"}


def figure(inputs: Inputs) -> Sheet:
    """Return the effects on predictions, and on norms with a panel per lag."""
    effects = inputs.elasticities[inputs.elasticities["source_site"] == inputs.source]
    kind = effects["intervention"].astype(str)
    scaled = effects["alpha"].map("scale by {:g}".format)
    effects = effects.assign(
        label=scaled.where(kind == "scale", kind),
        distance=effects["target_layer"] - effects["source_layer"],
    )
    after = of_pair(inputs, effects).query("distance > 0")
    of_derivative = after["label"] == "derivative"
    finite, derivative = after[~of_derivative], after[of_derivative]
    if finite.empty:
        return Sheet("No finite intervention was made before an observed layer")
    panels = []
    for target, label in NEXT_TOKEN.items():
        lines, x = lines_over(effects[effects["target_site"] == target], "lag")
        panels.append(Lines(lines, label, "prediction of the next token", x, "tokens after"))
    derivative = derivative[derivative["source_layer"].isin(finite["source_layer"])]
    for lag, title in LAGS.items():
        lines, x = lines_over(finite[finite["lag"] == lag], "distance")
        predicted = derivative[derivative["lag"] == lag].groupby("distance")["estimate"].mean()
        y = predicted.reindex(x).to_numpy(dtype=float)
        lines.append(Line(y, "derivative, for scaling", "k", linestyle=(0, (1, 1.2))))
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


def lines_over(rows: pd.DataFrame, column: str) -> tuple[list[Line], np.ndarray]:
    """Return a line with its band for each intervention, means over source layers, and their x.

    Scales come first, by factor.
    """
    x = np.array(sorted(rows[column].unique()))
    labels = rows.sort_values("alpha")["label"].unique()
    scales = [label for label in labels if label not in HUES]
    shades = dict(zip(scales, sns.color_palette("viridis", len(scales)), strict=True))
    means = rows.groupby(["label", column])[["estimate", *BOUNDS]].mean()
    lines = []
    for label, colour in (shades | {kind: HUES[kind] for kind in HUES if kind in labels}).items():
        y, low, high = means.loc[label].reindex(x).to_numpy(dtype=float).T
        lines.append(Line(y, label, colour, low, high, shade=0.15))
    return lines, x
