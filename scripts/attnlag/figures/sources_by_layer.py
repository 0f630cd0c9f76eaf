"""Shares of the tokens that write adjustments, and lags of what they write, by layer."""

from typing import Any

import numpy as np

from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import Line, Lines, Notice, Sheet, profile
from attnlag.regression.beyond.heads import WHOLE
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_sources",)
CATEGORY = "directions"
SUBCATEGORY = "sources"

# Sources from the bottom of the stack to its top, with their labels and colours.
STACK = {
    ("first",): ("first token", PALETTE[7]),
    ("self",): ("the token itself", PALETTE[1]),
    ("previous_1",): ("the token before", PALETTE[0]),
    ("previous_2", "previous_3", "previous_4"): ("2 to 4 tokens before", PALETTE[9]),
    ("rest", "bias"): ("all others", "0.85"),
}

LAGS_OF_PARTS = {
    WHOLE: ("all", GREY),
    "self": ("written by the token to itself", PALETTE[1]),
    "shared": ("written by earlier tokens", PALETTE[0]),
}


def figure(inputs: Inputs) -> Sheet:
    """Return the stacked shares, and the lag of the norm of each part."""
    table = inputs.shares
    if table.empty:
        return Notice("It is not known which tokens write the adjustments")
    layers = sorted(map(int, table["layer"].unique()))
    mean = table.pivot(index="layer", columns="source", values="mean").reindex(layers)
    lines: list[Line] = []
    kind: dict[str, Any] = {"linewidth": 0, "shade": 0.9, "interval": False}
    none, ends = np.full(len(layers), np.nan), {1: np.zeros(len(layers)), -1: np.zeros(len(layers))}
    for sources, (label, colour) in STACK.items():
        share = 100 * mean[list(sources)].sum(axis=1).to_numpy(dtype=float)
        # Shares against the adjustment hang below zero.
        for sign, before in ends.items():
            ends[sign] = before + sign * np.maximum(sign * share, 0)
            low, high = sorted((before, ends[sign]), key=np.sum)
            lines.append(Line(none, label, colour, low, high, **kind))
    panels = [Lines(lines, "% of the adjustment", "who writes it (means over tokens)", height=2.8)]
    lags, note = inputs.lags, ""
    if len(lags):
        term = (lags_among(list(lags["term"])) or ["lag_1"])[0]
        of_term = lags[lags["term"] == term]
        fitted = set(of_term.dropna(subset="estimate")["layer"])
        missing = [layer for layer in layers if layer not in fitted]
        profiles = [
            profile(of_term[of_term["part"] == part], layers, colour, label=label, marker="o")
            for part, (label, colour) in LAGS_OF_PARTS.items()
        ]
        title = f"{named(term)} of the log norm of what is written"
        panels.append(Lines(profiles, "coefficient", title, missing=missing))
        note = f" Coefficients have the terms of the regression '{inputs.settings['regression']}'."
    median = table.pivot(index="layer", columns="source", values="median")
    before = median["previous_1"]
    return Sheet(
        f"The token before writes {before.max():.0%} of the adjustment in layer "
        f"{before.idxmax()} and {before.median():.0%} in the median layer",
        layers,
        panels,
        "A share is the projection of what a token writes on the whole adjustment; shares add up "
        f"to 1, and one against the adjustment is negative. The title has medians.{note}",
        alpha=inputs.settings["alpha"],
    )
