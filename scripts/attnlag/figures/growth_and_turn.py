"""Parts of adjustments along the stream and at right angles to it, growth and turn, by layer."""

import numpy as np

from attnlag.adjustments.outcomes import STREAM_GROWTH
from attnlag.adjustments.sites import SITES
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import BOUNDS, Line, Lines, Sheet, untrained

DRAWN_BY = ("plot_geometry",)
ON_REQUEST = True
CATEGORY = "directions"
SUBCATEGORY = "growth and turn"

# Heading, label, quantity and scale of each panel.
PANELS = (
    ("part along the stream", "% of the stream's norm", "parallel_relative", 100.0),
    ("part at right angles", "% of the stream's norm", "orthogonal_relative", 100.0),
    ("growth of the stream", "log ratio of norms", "log_growth", 1.0),
    ("turn of the stream", "angle (degrees)", "angle", 180 / np.pi),
)


def figure(inputs: Inputs) -> Sheet:
    """Return a panel for each quantity, with random pairs and the untrained model beside it."""
    means = inputs.means
    layers = sorted(means["layer"].unique())
    panels, medians = [], {}
    for title, label, quantity, scale in PANELS:
        rows = means[means["quantity"] == quantity].set_index("layer").reindex(layers)
        medians[quantity] = scale * rows[["mean", "random_pairs"]].median()
        mean, low, high, pairs, random = (
            scale * rows[name].to_numpy(dtype=float)
            for name in ("mean", *BOUNDS, "random_pairs", "random_weights")
        )
        lines = [
            Line(mean, "mean over tokens", PALETTE[0], low, high, marker="o"),
            Line(pairs, "adjustment to a token of another document", GREY, linestyle=(0, (1, 1.2))),
        ]
        lines += [untrained(random)] if np.isfinite(random).any() else []
        panels.append(Lines(lines, label, title))
    label = SITES[means["site"].iloc[0]].label
    turn, along = medians["angle"], medians["parallel_relative"]
    verb = "lengthens" if along["mean"] >= 0 else "shortens"
    steps = means.loc[means["quantity"] == STREAM_GROWTH, "mean"]
    grown = (
        f" All sublayers: a factor of {np.exp(steps.median()):.3f} a layer." if len(steps) else ""
    )
    return Sheet(
        f"The {label} turns the stream by {turn['mean']:.0f}° and {verb} it by "
        f"{abs(along['mean']):.1f}% (median layer; another token's by "
        f"{turn['random_pairs']:.0f}° and {along['random_pairs']:.1f}%)",
        layers,
        panels,
        f"The stream is the input of the block, to which the {label} is added.{grown}",
        across=2,
        alpha=inputs.alpha,
    )
