"""Norms by layer, absolute and relative to the stream, with those of first tokens."""

from typing import Any

import numpy as np
import pandas as pd

from attnlag import wording
from attnlag.claims import norms as claims
from attnlag.errors import counted
from attnlag.figures.drawing import NORMS
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import PALETTE
from attnlag.figures.sampling import NormsSample
from attnlag.figures.templates import Line, Lines, Sheet
from attnlag.figures.wording import tokens_shown

DRAWN_BY = "plot_adjustments"
CATEGORY = "norms"
SUBCATEGORY = "by layer"

# Probabilities of the five quantiles of a layer's norms, with the median in the middle.
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def figure(inputs: Inputs) -> Sheet:
    """Return the norms, and the norms relative to the stream, as medians with bands."""
    sample = inputs.norms_sample
    relative_sample = inputs.relative_sample
    drop_first = inputs.settings["drop_first"]
    norms = norms_panel(
        sample, drop_first, f"norm of the {inputs.site_label}, |a|", "norm (log scale)"
    )
    relative = norms_panel(
        relative_sample, drop_first, "relative to the stream, |a| / |x|", "ratio (log scale)"
    )
    titles = [title_of(sample.layers, norms, "norm")]
    titles.append(wording.clause(title_of(sample.layers, relative, "relative")))
    return Sheet(
        "; ".join(titles) if all(titles) else "No layer has a finite norm other than zero",
        sample.layers,
        [norms, relative],
        f"Bands: the middle 50% and 90% of {tokens_shown(sample.tokens)} except first ones, and "
        "the middle 90% of these. The stream x is what the block receives; at 1, the adjustment is "
        "as large as the stream.",
        across=2,
        extent=counted(sample.tokens, "token"),
    )


def norms_panel(
    sample: NormsSample, drop_first: int, title: str, ylabel: str, share: str = ""
) -> Lines:
    """Return a panel of the quantiles of the norms of each layer, and of first tokens."""
    first = sample.position < drop_first
    quantiles = sample.log_norms[~first].quantile(QUANTILES)
    low, lower, middle, upper, high = np.exp(quantiles.to_numpy())
    lines = [
        Line(middle, "", NORMS, low, high, linewidth=0, shade=0.2),
        Line(middle, "", NORMS, lower, upper, linewidth=0, shade=0.35),
    ]
    if first.any():
        ends = np.exp(sample.log_norms[first].quantile(QUANTILES).to_numpy())
        kind: dict[str, Any] = {"linestyle": (0, (1, 1.2)), "linewidth": 2.0, "interval": False}
        lines.append(Line(ends[2], "first tokens", PALETTE[3], ends[0], ends[-1], **kind))
    lines.append(Line(middle, f"median of the {'other ' if first.any() else ''}tokens", NORMS))
    return Lines(lines, ylabel, title, zero=False, log_scale=True, height=3.4, share=share)


def title_of(layers: list[int], panel: Lines, outcome: str) -> str:
    """Return where the medians of a panel begin and end, "" if no layer has one."""
    medians = pd.Series(panel.lines[-1].y, index=layers)
    return wording.title(claims.by_layer(medians, outcome))
