"""Mean log norm by layer and position in the sequence."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag.figures.drawing import reach_of
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Sheet
from attnlag.figures.wording import sample_shown
from attnlag.quantities.catalogue import SITES
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)
CATEGORY = "norms"
SUBCATEGORY = "by position"
METHOD = "Norms by position are means of logarithms over documents, less the layer's mean."

# Number of first positions with a row each, and of rows for each doubling after them.
SINGLE, PER_DOUBLING = 8, 4

# Smallest number of documents whose mean a row shows; in a small corpus, half of them.
FEW_DOCUMENTS = 20

# First tokens stand out if they differ from the layer's typical norm by at least this factor.
STANDS_OUT = 1.25


def position_edges(longest: int) -> np.ndarray:
    """Return the positions at which rows begin and end, for positions 0 to ``longest``.

    Each of the first positions has a row; later rows are ever wider, because norms change fastest
    within the first few tokens.
    """
    steps = np.arange(0, PER_DOUBLING * 40)
    wide = np.rint(SINGLE * 2 ** (steps / PER_DOUBLING)).astype(np.int64)
    edges = np.unique(np.concatenate([np.arange(SINGLE), wide]))
    return edges[: int(np.searchsorted(edges, longest, side="right")) + 1]


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each position, the first one on top."""
    sample, drop_first = inputs.sample, inputs.settings.drop_first
    edges = position_edges(int(sample.position.max(initial=0)))
    row = np.searchsorted(edges, sample.position, side="right") - 1
    logs = sample.log_norms - sample.log_norms[sample.position >= drop_first].mean()
    names = pd.Series(tables.values_of(inputs.norms, "document", sample.rows))
    documents = names.groupby(row).nunique()
    enough = documents[documents >= min(FEW_DOCUMENTS, -(-documents.max() // 2))]
    values = logs.groupby(row).mean().reindex(range(enough.index[-1] + 1)).to_numpy(dtype=float)
    edges = edges[: len(values) + 1]
    dropped = int(np.searchsorted(edges, drop_first))
    reach = reach_of(values[dropped:])
    ticks = [
        f"{edge:,}" if place < SINGLE or place % PER_DOUBLING == 0 else ""
        for place, edge in enumerate(edges[:-1])
    ]
    label = SITES[inputs.site].label

    def hatch(axes: Axes) -> None:
        axes.axhspan(0, dropped, facecolor="none", edgecolor="k", hatch="///", linewidth=0)
        axes.axhline(dropped, color="k", linewidth=1.2)

    return Sheet(
        claim_of(values[0], sample.layers),
        sample.layers,
        [
            Map(
                values,
                ticks,
                "mean log norm,\nminus the layer's mean",
                ylabel="position in the sequence (tokens)",
                row_height=0.12,
                limits=(-reach, reach),
                extra=hatch if dropped else None,
            )
        ],
        f"Natural logarithm of the norm of the {label}. From position {SINGLE} on, a row holds "
        f"several positions; positions of fewer than {FEW_DOCUMENTS} documents are left out. "
        f"Hatched: dropped from the regressions. {sample_shown(sample.tokens, 'tokens')}",
    )


def claim_of(first: np.ndarray, layers: list[int]) -> str:
    """Return the factors by which first tokens differ most from the others of their layer."""
    if not np.isfinite(first).any():
        return "Norms along the text"
    high, low = int(np.nanargmax(first)), int(np.nanargmin(first))
    far = [place for place in (high, low) if abs(first[place]) > np.log(STANDS_OUT)]
    if not far:
        return "First tokens have about the same norms as later ones"
    times = [f"{np.exp(first[place]):.2g} times in layer {layers[place]}" for place in far]
    times[0] = times[0].replace("times", "times the layer's mean norm")
    return f"First tokens are outliers: {', '.join(times)}"
