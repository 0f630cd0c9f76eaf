"""Predicted against caused, pair by pair of layers: where the signs agree, and where not."""

import functools

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs, of_pair
from attnlag.figures.legends import GREY, layer_colours
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet

DRAWN_BY = "plot_effects"
ON_REQUEST = True
CATEGORY = "interventions"
SUBCATEGORY = "elasticities"

# Prediction and title of each panel, by the column of the coefficient.
PANELS = {
    "predictive": ("alone", "predicted from the source layer alone"),
    "predictive_given": ("given", "source layer at the target's token held fixed"),
}

# Axes are linear up to these values and logarithmic beyond.
LINEAR_X, LINEAR_Y = 0.03, 0.003


def figure(inputs: Inputs) -> Sheet:
    """Return a panel for each of the two predictions, one token apart."""
    pairs = of_pair(inputs, inputs.elasticities).query("intervention == 'derivative' and lag == 1")
    pairs = pairs[(pairs["source_layer"] < pairs["target_layer"]) & pairs["predictive"].notna()]
    table = of_pair(inputs, inputs.prediction_vs_effect).query("lag == 1")
    trials = {row["prediction"]: row for _, row in table.iterrows()}
    if pairs.empty or "alone" not in trials:
        return Sheet("No layer was changed before an observed one")
    alone = trials["alone"]
    claim = "No effect on a next token is clear of zero"
    if alone["clear"]:
        claim = (
            f"Prediction has the sign of {alone['same_sign']:.0f} of {alone['clear']:.0f} clear "
            "effects on the next token"
        )
    of_target = pairs.groupby(pairs["target_layer"].astype(int))
    colours = layer_colours(of_target.ngroups)
    # A single document gives effects without intervals.
    across, up = (
        1.3 * float(pairs[names].abs().max().max()) for names in ([*PANELS], ["estimate", *BOUNDS])
    )
    panels = []
    for column, (prediction, title) in PANELS.items():
        lines = []
        for (layer, rows), colour in zip(of_target, colours, strict=True):
            x, y, low, high = (rows[name].to_numpy(float) for name in (column, "estimate", *BOUNDS))
            lines.append(Line(y, f"target layer {layer}", colour, low, high, bars=True, x=x))
        unclear = pairs[~(pairs["conf_low"] * pairs["conf_high"] > 0)][[column, "estimate"]]
        trial = trials.get(prediction)
        panels.append(
            Lines(
                lines,
                "caused: elasticity",
                title,
                np.empty(0),
                "predicted: coefficient (log norm per log norm)",
                height=3.6,
                extra=functools.partial(finish, unclear=unclear, trial=trial, limits=(across, up)),
            )
        )
    return Sheet(
        claim,
        [],
        panels,
        "A point is a pair of layers. Caused: change of the target's log norm per change of the "
        f"source's one token before, in {inputs.extent}; bars: {100 * (1 - inputs.alpha):g}% "
        "intervals, with a white point if they include zero. Predicted: regression over all "
        "documents. Shaded: signs agree. Axes are linear near zero.",
        across=2,
        alpha=inputs.alpha,
    )


def finish(
    axes: Axes, unclear: pd.DataFrame, trial: pd.Series | None, limits: tuple[float, float]
) -> None:
    """Scale the axes, mark unclear effects, shade where signs agree and state how many do."""
    axes.plot(*unclear.to_numpy(float).T, "o", color="w", markersize=2.5, zorder=4)
    axes.set_xscale("symlog", linthresh=LINEAR_X)
    axes.set_yscale("symlog", linthresh=LINEAR_Y)
    for axis, linear in ((axes.xaxis, LINEAR_X), (axes.yaxis, LINEAR_Y)):
        axis.set_major_locator(FixedLocator([k * linear for k in (-10, -1, 0, 1, 10)]))
        axis.set_major_formatter("{x:g}")
    across, up = limits
    axes.set(xlim=(-across, across), ylim=(-up, up))
    for sign in (-1, 1):
        axes.fill_between([0, sign * across], 0, sign * up, color="0.93", linewidth=0, zorder=0)
    if trial is not None:
        text = "no effect is clear of zero"
        if trial["clear"]:
            text = f"{trial['same_sign']:.0f} of {trial['clear']:.0f} clear effects have its sign"
            text += f" (by chance {trial['by_chance']:.1f})"
        if np.isfinite(trial["rank_correlation"]):
            text += f"\nrank correlation of sizes {number(trial['rank_correlation'])}"
        axes.text(0.02, 0.97, text, transform=axes.transAxes, va="top", fontsize=8, color=GREY)
