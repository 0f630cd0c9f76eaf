"""Cosine of the adjustments to two tokens, by layer and by their distance."""

from typing import Any

import numpy as np
import seaborn as sns

from attnlag import wording
from attnlag.claims.directions import CENTRED, PLAIN, neighbours
from attnlag.claims.run import Claims
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Map, Sheet, by_layer, untrained
from attnlag.figures.wording import tokens_in_words
from attnlag.quantities.catalogue import SITES

DRAWN_BY = "plot_adjustments"
CATEGORY = "directions"
SUBCATEGORY = "cosines"
NEEDS = "geometry"

PAIRS: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 2.0, "behind": True}


def figure(inputs: Inputs) -> Sheet:
    """Return the cosines of neighbours by layer, and the centred cosines at all distances."""
    means = inputs.table("directions")
    settings = inputs.record_of("directions").settings("geometry_means")
    claims = Claims(tuple(neighbours(means)))
    layers = sorted(means["layer"].unique())
    is_cosine = means["quantity"].isin([PLAIN, CENTRED])
    near = means[is_cosine & (means["distance"] == 1)].set_index("layer")
    lines: list[Line] = []
    has_untrained = False
    for quantity, label, colour in (
        (PLAIN, "cosine", PALETTE[0]),
        (CENTRED, "centred cosine", PALETTE[1]),
    ):
        rows = near[near["quantity"] == quantity].reindex(layers)
        if rows["mean"].notna().any():
            low, high = BOUNDS
            lines.append(Line(rows["mean"], label, colour, rows[low], rows[high]))
            pairs = {**PAIRS, "label": f"{label}, random pairs"}
            lines.append(Line(rows["random_pairs"], color=colour, **pairs))
            if rows["untrained"].notna().any():
                lines.append(untrained(rows["untrained"], "", colour))
                has_untrained = True
    panels: list[Lines | Map] = [Lines(lines, "mean cosine", "neighbours", direct=True)]
    centred = means[means["quantity"] == CENTRED].astype({"distance": int})
    if len(centred):
        distances = sorted(centred["distance"].unique())
        values = by_layer(centred, "distance", "mean", distances, layers)
        panels.append(
            Map(
                values,
                list(map(str, distances)),
                "centred cosine",
                "by distance",
                ylabel="distance (tokens)",
                row_height=0.14,
                named=[at for at, d in enumerate(distances) if d == 1 or d % 4 == 0],
                colours=sns.color_palette("viridis", as_cmap=True),
                limits=(min(0.0, float(np.nanmin(values))), float(np.nanmax(values))),
            )
        )
    site = SITES[means["site"].iloc[0]].label
    note = f"Cosine of the {site}s to two tokens of a sequence; centred: less the layer's mean."
    if has_untrained:
        note += " Dashed: the same, untrained (first scale of the initial weights)."
    return Sheet(
        wording.title([claims.one("cosine"), claims.one("cosine_far")], ending=" (median layer)"),
        layers,
        panels,
        note,
        across=2,
        alpha=settings["alpha"],
        extent=tokens_in_words(means),
    )
