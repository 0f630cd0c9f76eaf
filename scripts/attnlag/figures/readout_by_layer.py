"""Effects of adjustments on the logits of own token, next token and first choice, by layer."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag import wording
from attnlag.claims.numbers import number
from attnlag.claims.sources import TARGETS, next_token
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import Line, Lines, Sheet, profile, untrained
from attnlag.figures.wording import tokens_in_words
from attnlag.quantities.catalogue import SITES

DRAWN_BY = "plot_sources"
CATEGORY = "directions"
SUBCATEGORY = "readout"

COLOURS = {"own": PALETTE[1], "next": PALETTE[0], "top1": PALETTE[2]}

# Lowest end of an axis, as a multiple of the second lowest layer's.
FAR = 2.0


def figure(inputs: Inputs) -> Sheet:
    """Return for each site the effects, less those on the targets of another place."""
    effects = pd.concat(map(inputs.declared.read, inputs.paths("readout")))
    settings = inputs.record_of("readout").settings("traced_table")
    table = effects.dropna(subset="difference")
    if table.empty:
        return Sheet("Effects on the logits are not known")
    first = effects[effects["site"] == table["site"].iloc[0]]
    layers = sorted(map(int, table["layer"].unique()))
    panels = []
    has_untrained = False
    for site, rows_of_site in table.groupby("site", sort=False):
        lines: list[Line] = []
        for target, label in TARGETS.items():
            colour = COLOURS[target]
            rows = rows_of_site[rows_of_site["target"] == target]
            before = rows.set_index("layer")["untrained"].reindex(layers)
            lines.append(profile(rows, layers, colour, "difference", label=label))
            if before.notna().any():
                lines.append(untrained(before, "", colour))
                has_untrained = True
        title = SITES[str(site)].label if table["site"].nunique() > 1 else ""
        panels.append(panel_of(lines, title, layers))
    note = (
        "Direct effects on logits through the last norm and the head, less the effects on the "
        "tokens of another place in the same document."
    )
    if has_untrained:
        note += " Dashed: the same, untrained (first scale of the initial weights)."
    return Sheet(
        wording.title([next_token(first, settings["alpha"], settings["adjust"])]),
        layers,
        panels,
        note,
        alpha=settings["alpha"],
        extent=tokens_in_words(effects),
    )


def panel_of(lines: list[Line], title: str, layers: list[int]) -> Lines:
    """Return the panel of some lines, cut off at a single layer far below, whose point is named."""
    trained = [line for line in lines if line.low is not None]
    lows = np.fmin.reduce([line.low for line in trained])
    lowest = np.argsort(lows)[:2]
    place = int(lowest[0])
    floor = FAR * min(float(lows[lowest[-1]]), -0.1)
    cut: dict[str, Any] = {}
    if len(lows) > 1 and lows[place] <= floor:
        least = np.nanmin([line.y[place] for line in trained])
        # Beside the layer, on the side that has room.
        left = place < len(layers) / 2

        def name_value_below(axes: Axes) -> None:
            text = f"layer {layers[place]} ↓ {number(least)}"
            kind: dict[str, Any] = {"fontsize": 8, "color": GREY, "ha": "left" if left else "right"}
            axes.text(place + (1.8 if left else -0.8), 0.95 * floor, text, va="bottom", **kind)

        cut = {"ylim": (floor, None), "extra": name_value_below if least < floor else None}
    return Lines(
        lines,
        "effect on the logit\n(SD over the vocabulary)",
        title,
        height=3.0,
        direct=True,
        **cut,
    )
