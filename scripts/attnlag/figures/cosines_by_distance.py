"""Cosine of the adjustments to two tokens, by layer and by their distance."""

from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.claims.directions import CENTRED, PLAIN, neighbours
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Map, Sheet, untrained
from attnlag.quantities.catalogue import SITES

DRAWN_BY = ("plot_geometry",)
CATEGORY = "directions"
SUBCATEGORY = "cosines"
METHOD = (
    "Cosines of the adjustments to two tokens of a sequence are means with intervals "
    "clustered by document, beside those of tokens of different documents; centred cosines "
    "are of vectors less the layer's mean."
)

PAIRS: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 2.0, "behind": True}


def figure(inputs: Inputs) -> Sheet:
    """Return the cosines of neighbours by layer, and the centred cosines at all distances."""
    means = inputs.means
    layers = sorted(means["layer"].unique())
    near = means[means["distance"] == 1]
    lines, none = [], np.full(len(layers), np.nan)
    controls: dict[str, Line] = {}
    kinds = {PLAIN: "cosine", CENTRED: "centred cosine"}
    for place, (quantity, label) in enumerate(kinds.items()):
        rows = near[near["quantity"] == quantity].set_index("layer").reindex(layers)
        if rows["mean"].isna().all():
            continue
        mean, low, high, pairs, random = (
            rows[name].to_numpy(dtype=float)
            for name in ("mean", *BOUNDS, "random_pairs", "random_weights")
        )
        colour = PALETTE[place]
        lines.append(Line(mean, label, colour, low, high))
        lines.append(Line(pairs, "", colour, **PAIRS))
        controls["random pairs of tokens"] = Line(none, "random pairs of tokens", GREY, **PAIRS)
        if np.isfinite(random).any():
            lines.append(untrained(random, "", colour))
            controls["before training"] = untrained(none, "before training, first scale")
    # The colours stand for the two cosines, the dashes for their controls.
    lines += controls.values()
    label = SITES[means["site"].iloc[0]].label
    panels: list[Lines | Map] = [Lines(lines, "mean cosine", "neighbours")]
    by_distance = (
        means[means["quantity"] == CENTRED]
        .astype({"distance": int})
        .pivot(index="distance", columns="layer", values="mean")
        if (means["quantity"] == CENTRED).any()
        else pd.DataFrame()
    )
    if len(by_distance):
        values = by_distance.reindex(columns=layers).to_numpy(dtype=float)
        panels.append(
            Map(
                values,
                [str(d) if d == 1 or d % 4 == 0 else "" for d in by_distance.index],
                "centred cosine",
                "by distance",
                ylabel="distance (tokens)",
                row_height=0.14,
                colours=sns.color_palette("viridis", as_cmap=True),
                limits=(min(0.0, float(np.nanmin(values))), float(np.nanmax(values))),
            )
        )
    return Sheet(
        neighbours(means).sentence,
        layers,
        panels,
        f"Cosine of the {label}s to two tokens of a sequence; centred: less the layer's mean.",
        across=2,
        alpha=inputs.alpha,
    )
