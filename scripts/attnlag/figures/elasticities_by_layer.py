"""Effect of an adjustment on later layers beside its prediction, for some target layers."""

import numpy as np

from attnlag.claims.causes import of_single_layers
from attnlag.figures.drawing import evenly_chosen
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet, profile
from attnlag.regression.labels import UNITS

DRAWN_BY = "plot_effects"
CATEGORY = "interventions"
SUBCATEGORY = "elasticities"

PREDICTED, CAUSED, JOINTLY = PALETTE[0], PALETTE[3], PALETTE[2]

# Largest number of target layers with a panel; all are in the last one.
MOST_TARGETS = 3


def figure(inputs: Inputs) -> Sheet:
    """Return a panel over the source layers for each target, and one of sums over the targets."""
    table = of_pair(inputs, inputs.elasticities)
    near = table[(table["intervention"] == "derivative") & (table["lag"] == 1)]
    pairs = near[near["source_layer"] < near["target_layer"]]
    if pairs.empty:
        return Sheet("No layer was changed before an observed one")
    targets = sorted(pairs["target_layer"].astype(int).unique())
    layers = range(max(targets) + 1)
    unit, panels = UNITS["norm"], []
    for target in evenly_chosen(targets, MOST_TARGETS):
        rows = pairs[pairs["target_layer"] == target].rename(columns={"source_layer": "layer"})
        names = ["predictive", *(f"predictive_{end}" for end in BOUNDS)]
        predicted, low, high = rows.set_index("layer").reindex(layers)[names].to_numpy(float).T
        lone = len(rows) == 1
        lines = [
            Line(predicted, "predicted by one earlier layer", PREDICTED, low, high, bars=lone),
            profile(rows, layers, CAUSED, label="caused by it", bars=lone),
        ]
        title = f"on layer {target}"
        panels.append(Lines(lines, unit, title, xlabel="source layer", share="effects"))
    sums = of_pair(inputs, inputs.total_effects).query("lag == 1").set_index("target_layer")
    sums = sums.reindex(layers)
    places = 0.5 + np.arange(len(layers))
    lines = []
    for name, ends, label, colour, shift in (
        ("coefficient", "coefficient_", "lag 1 of the layer itself", PREDICTED, -0.25),
        ("predicted", "predicted_", "predicted by all earlier layers together", JOINTLY, 0.0),
        ("estimate", "", "caused by all earlier layers together", CAUSED, 0.25),
    ):
        low, high = (sums[f"{ends}{end}"] for end in BOUNDS)
        if sums[name].notna().any():
            lines.append(Line(sums[name], label, colour, low, high, bars=True, x=places + shift))
    panels.append(Lines(lines, unit, "all earlier layers", xlabel="target layer"))
    return Sheet(
        of_single_layers(pairs).sentence,
        layers,
        panels,
        "Predicted: coefficient of the source's log norm alone, one token before, in a regression "
        "of the target's. Caused: change of the target's log norm per change of the source's, "
        f"along all paths, in {inputs.extent}. "
        f"Bars: {100 * (1 - inputs.alpha):g}% intervals.",
        across=2,
        alpha=inputs.alpha,
    )
