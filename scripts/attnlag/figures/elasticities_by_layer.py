"""Effect of an adjustment on later ones beside its prediction, by source and target layer."""

from typing import Any

import numpy as np
from matplotlib.colors import SymLogNorm

from attnlag.errors import counted
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Line, Lines, Map, Notice, Sheet
from attnlag.figures.wording import number
from attnlag.regression.labels import UNITS

DRAWN_BY = ("plot_effects",)
CATEGORY = "interventions"
SUBCATEGORY = "elasticities"

MAPS = {"predictive": "predicted", "estimate": "caused"}

# Estimate and ends of the coefficient within a layer, and of the effect of all layers before it.
SUMS = (
    ("coefficient", "coefficient_conf_low", "coefficient_conf_high"),
    ("estimate", "conf_low", "conf_high"),
)
STYLES: tuple[dict[str, Any], ...] = (
    {"label": "lag 1 of the regression", "color": PALETTE[0], "marker": "o"},
    {"label": "caused by all preceding layers together", "color": PALETTE[3], "marker": "s"},
)

# Colours are linear up to this value and logarithmic beyond.
LINEAR_UP_TO = 0.003
TICKS = (-0.3, -0.03, -0.003, 0.003, 0.03, 0.3)


def figure(inputs: Inputs) -> Sheet:
    """Return maps of source by target layer, one token apart, and the sums over the sources."""
    table = of_pair(inputs, inputs.elasticities)
    near = table[(table["intervention"] == "derivative") & (table["lag"] == 1)]
    pairs = near[near["source_layer"] < near["target_layer"]]
    if pairs.empty:
        return Notice("No layer was changed before an observed one")
    targets = sorted(pairs["target_layer"].astype(int).unique())
    layers = range(max(targets) + 1)
    largest = float(
        np.nanmax(np.abs(pairs[list(MAPS)].to_numpy(dtype=float)), initial=LINEAR_UP_TO)
    )
    panels: list[Lines | Map] = []
    for name, title in MAPS.items():
        wide = pairs.pivot(index="target_layer", columns="source_layer", values=name)
        panels.append(
            Map(
                wide.reindex(index=targets, columns=layers).to_numpy(dtype=float),
                list(map(str, targets)),
                UNITS["norm"],
                f"{title}, one token later",
                ylabel="target layer",
                xlabel="source layer",
                norm=SymLogNorm(LINEAR_UP_TO, vmin=-largest, vmax=largest),
                ticks=TICKS,
            )
        )
    sums = of_pair(inputs, inputs.transmitted).query("lag == 1").set_index("target_layer")
    lines = []
    for names, kind in zip(SUMS, STYLES, strict=True):
        value, low, high = (sums[name].reindex(layers).to_numpy(dtype=float) for name in names)
        lines.append(Line(value, low=low, high=high, bars=True, **kind))
    panels.append(Lines(lines, UNITS["norm"], "by target layer", xlabel="target layer"))
    predicted, caused = (pairs[name].abs().max() for name in MAPS)
    documents = counted(int(inputs.elasticities["documents"].max()), "document")
    return Sheet(
        f"An adjustment predicts the next token's by up to {number(predicted)} but changes it by "
        f"at most {number(caused)}",
        layers,
        panels,
        "Predicted: regression of the target's log norm on the source's alone. Caused: change of "
        f"the target's log norm per change of the source's, along all paths, in {documents}. Bars: "
        f"{100 * (1 - inputs.alpha):g}% intervals.",
        across=2,
        alpha=inputs.alpha,
    )
