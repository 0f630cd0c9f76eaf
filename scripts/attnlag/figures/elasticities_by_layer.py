"""Effect of an adjustment on later layers beside its prediction, for some target layers."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims.causes import of_single_layers
from attnlag.errors import counted
from attnlag.figures.drawing import evenly_chosen
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import Line, Lines, Sheet, profile
from attnlag.regression.labels import UNITS

DRAWN_BY = "plot_effects"
CATEGORY = "interventions"
SUBCATEGORY = "elasticities"

PREDICTED = PALETTE[0]
CAUSED = PALETTE[3]
JOINTLY = PALETTE[2]

# What the panels of each kind show.
QUANTITIES = {"predicted": "coefficient", "caused": "effect"}

# Largest number of target layers with panels; all are in the last one.
MAX_TARGETS = 3


def figure(inputs: Inputs) -> Sheet:
    """Return predictions above effects by source layer, a column for each target, and their sums.

    Effects are a hundredth of the predictions and have a scale of their own.
    """
    source = inputs.settings["source"]
    target_site = inputs.settings["target"]
    effects = inputs.table("elasticities")
    alpha = inputs.record_of("elasticities").settings("elasticities")["alpha"]
    # All tokens may be dropped.
    documents = int(effects["documents"].max()) if len(effects) else 0
    extent = counted(documents, "document")
    names = {"pair": " to ".join(dict.fromkeys((source, target_site)))}
    table = of_pair(effects, source, target_site)
    near = table[(table["intervention"] == "derivative") & (table["lag"] == 1)]
    pairs = near[near["source_layer"] < near["target_layer"]]
    if pairs.empty:
        return Sheet("No layer was changed before an observed one", extent=extent, names=names)
    targets = sorted(pairs["target_layer"].astype(int).unique())
    shown = evenly_chosen(targets, MAX_TARGETS)
    predicted_panels: list[Lines] = []
    caused_panels: list[Lines] = []
    for target in shown:
        rows = pairs[pairs["target_layer"] == target].sort_values("source_layer")
        sources = rows["source_layer"].astype(int).tolist()
        # A single source layer has a mark, because no line is drawn of one value.
        alone = len(sources) == 1
        predicted = Line(
            rows["predictive"].to_numpy(float),
            color=PREDICTED,
            low=rows["predictive_conf_low"].to_numpy(float),
            high=rows["predictive_conf_high"].to_numpy(float),
            bars=alone,
        )
        rows_by_layer = rows.rename(columns={"source_layer": "layer"})
        caused = profile(rows_by_layer, sources, CAUSED, bars=alone)
        for line, kind, panels in (
            (predicted, "predicted", predicted_panels),
            (caused, "caused", caused_panels),
        ):
            title = f"{kind} in layer {target}"
            unit = f"{QUANTITIES[kind]}\n({UNITS['norm']})"
            panels.append(Lines([line], unit, title, sources, "source layer", share=kind))
    sums = of_pair(inputs.table("total_effects"), source, target_site)
    return Sheet(
        wording.title([*of_single_layers(effects, source, target_site)]),
        range(max(targets) + 1),
        [*predicted_panels, *caused_panels, panel_of_sums(sums, targets)],
        "Predicted: coefficient of the source's log norm alone, one token before, in a regression "
        "of the target's. Caused: change of the target's log norm per change of the source's, "
        f"along all paths, in {extent}; its scale is its own.",
        across=len(shown),
        alpha=alpha,
        extent=extent,
        names=names,
    )


def of_pair(effects: pd.DataFrame, source: str, target: str) -> pd.DataFrame:
    """Return the rows of effects of changes at a site on another, or on itself."""
    return effects[(effects["source_site"] == source) & (effects["target_site"] == target)]


def panel_of_sums(effects: pd.DataFrame, targets: Sequence[int]) -> Lines:
    """Return the lag of each target layer beside what all layers before predict and cause."""
    sums = effects[effects["lag"] == 1].set_index("target_layer").reindex(list(targets))
    places = np.asarray(targets, dtype=float)
    # Bars stand side by side, and nearer to each other than to the next layer's.
    step = 0.2
    if len(places) > 1:
        step = min(0.2 * np.diff(places).min(), 0.015 * np.ptp(places))
    lines = []
    for column, prefix, label, colour, shift in (
        ("coefficient", "coefficient_", "lag 1 of the layer", PREDICTED, -step),
        ("predicted", "predicted_", "predicted", JOINTLY, 0.0),
        ("estimate", "", "caused", CAUSED, step),
    ):
        if sums[column].notna().any():
            line = Line(
                sums[column].to_numpy(float),
                label,
                colour,
                low=sums[f"{prefix}conf_low"].to_numpy(float),
                high=sums[f"{prefix}conf_high"].to_numpy(float),
                bars=True,
                x=places + shift,
            )
            lines.append(line)
    return Lines(
        lines,
        f"coefficient\n({UNITS['norm']})",
        "by all earlier layers together, beside lag 1 of the layer itself",
        places,
        "target layer",
        direct=True,
    )
