"""Predicted against caused, pair by pair of layers: where the signs agree, and where not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator

from attnlag.errors import counted
from attnlag.figures.drawing import frame
from attnlag.figures.files import style
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import GREY, MARKERS, layer_colours
from attnlag.figures.sizes import PAGE, Size
from attnlag.figures.templates import Notice, Own, Sheet
from attnlag.figures.wording import number

DRAWN_BY = ("plot_effects",)
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "elasticities"

PANELS = {
    "predictive": ("alone", "source's norm alone"),
    "predictive_given": ("given", "the source layer at the target's token held fixed"),
}

# Axes are linear up to these values and logarithmic beyond.
LINEAR_X, LINEAR_Y = 0.03, 0.003


def figure(inputs: Inputs) -> Own | Sheet:
    """Return a panel for each of the two predictions, one token apart."""
    pairs = of_pair(inputs, inputs.elasticities).query("intervention == 'derivative' and lag == 1")
    pairs = pairs[(pairs["source_layer"] < pairs["target_layer"]) & pairs["predictive"].notna()]
    table = of_pair(inputs, inputs.verdicts).query("lag == 1")
    verdicts = {str(row["prediction"]): row for row in table.to_dict("records")}
    if pairs.empty or "alone" not in verdicts:
        return Notice("No layer was changed before an observed one")
    alone = verdicts["alone"]
    claim = "No effect on a next token is clear of zero"
    if alone["clear"]:
        right = int(alone["same_sign"]), int(alone["clear"])
        claim = (
            f"Prediction has the sign of {right[0]} of {right[1]} clear effects on the next token"
        )
    documents = counted(int(inputs.elasticities["documents"].max()), "document")
    note = (
        "A point is a pair of layers. Caused: change of the target's log norm per change of the "
        f"source's one token before, in {documents}; bars: {100 * (1 - inputs.alpha):g}% "
        "intervals, filled if they exclude zero. Predicted: regression over all documents. "
        "Shaded: signs agree; at random, half would. Axes are linear near zero."
    )
    return Own(claim, lambda title, size: draw(pairs, verdicts, note, title, size))


@style()
def draw(
    pairs: pd.DataFrame,
    verdicts: Mapping[str, Mapping[Any, Any]],
    note: str,
    title: str,
    size: Size = PAGE,
) -> Figure:
    """Draw effects against predictions, a colour and shape for each target layer."""
    shape = (2, 1) if size.narrow else (1, 2)
    drawn = Figure(size.tall(3.4 * shape[0] + 1.6))
    grid = drawn.subplots(*shape, squeeze=False, sharex=True, sharey=True)
    targets = sorted(pairs["target_layer"].astype(int).unique())
    colours = dict(zip(targets, layer_colours(len(targets)), strict=True))
    legend: dict[str, Any] = {}
    reach_x = 1.3 * float(np.nanmax(np.abs(pairs[list(PANELS)].to_numpy(float))))
    reach_y = 1.3 * float(np.abs(pairs[["conf_low", "conf_high"]].to_numpy(float)).max())
    for axes, (column, (prediction, given)) in zip(grid.flat, PANELS.items(), strict=True):
        axes.set_xscale("symlog", linthresh=LINEAR_X)
        axes.set_yscale("symlog", linthresh=LINEAR_Y)
        for axis, linear in ((axes.xaxis, LINEAR_X), (axes.yaxis, LINEAR_Y)):
            axis.set_major_locator(FixedLocator([k * linear for k in (-10, -1, 0, 1, 10)]))
            axis.set_major_formatter("{x:g}")
        axes.set(xlim=(-reach_x, reach_x), ylim=(-reach_y, reach_y))
        for sign in (-1, 1):
            ends = [0, sign * reach_x]
            axes.fill_between(ends, 0, sign * reach_y, color="0.93", linewidth=0, zorder=0)
        for place, layer in enumerate(targets):
            rows = pairs[pairs["target_layer"] == layer]
            clear = rows["conf_low"] * rows["conf_high"] > 0
            for chosen, filled in ((rows[~clear], False), (rows[clear], True)):
                half = (chosen["conf_high"] - chosen["conf_low"]) / 2
                marks = axes.errorbar(
                    chosen[column],
                    chosen["estimate"],
                    half,
                    color=colours[layer],
                    fmt=MARKERS[place % len(MARKERS)],
                    markersize=5 if filled else 4,
                    markerfacecolor=colours[layer] if filled else "w",
                    elinewidth=0.8,
                    alpha=1 if filled else 0.6,
                )
            legend.setdefault(f"target layer {layer}", marks)
        axes.set_title(
            f"predicted from the {given}" if column == "predictive" else given, loc="left"
        )
        if prediction in verdicts:
            row = verdicts[prediction]
            text = f"{int(row['same_sign'])} of {int(row['clear'])} signs agree"
            if np.isfinite(row["agreement"]):
                low, high = (row[f"agreement_{end}"] for end in ("low", "high"))
                text += f" ({low:.0%} to {high:.0%})"
            text += f"\nrank correlation of sizes {number(row['rank_correlation'])}"
            axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, color=GREY)
    frame(
        drawn,
        title,
        note,
        x_label="predicted: coefficient (log norm per log norm)",
        y_label="caused: elasticity",
        legends=[legend],
    )
    return drawn
