"""Mean log norm by layer and position in the sequence."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from attnlag import wording
from attnlag.claims.norms import position_drift
from attnlag.corpus.documents import group_by_document
from attnlag.errors import counted, listed
from attnlag.figures.drawing import reach_of
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Sheet
from attnlag.figures.wording import sample_shown, shortened
from attnlag.storage import tables

DRAWN_BY = "plot_adjustments"
CATEGORY = "norms"
SUBCATEGORY = "by position"

# Number of first positions with a row each, and of rows for each doubling after them.
SINGLE = 8
PER_DOUBLING = 4

# Share of the documents that rows of the title have at least.
NEARLY_ALL = 0.9

# Most groups that a note names.
MAX_GROUPS = 3

# Smallest number of documents whose mean a row shows; in a small corpus, half of them.
FEW_DOCUMENTS = 20


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
    sample = inputs.norms_sample
    drop_first = inputs.settings["drop_first"]
    longest = int(sample.position.max(initial=0))
    edges = position_edges(longest)
    row = np.searchsorted(edges, sample.position, side="right") - 1
    logs = sample.log_norms - sample.log_norms[sample.position >= drop_first].mean()
    names = pd.Series(tables.values_at(inputs.paths("norms"), "document", sample.rows))
    documents = names.groupby(row).nunique()
    fewest = min(FEW_DOCUMENTS, -(-documents.max() // 2))
    enough = documents[documents >= fewest]
    last = int(enough.index[-1])
    values = logs.groupby(row).mean().reindex(range(last + 1)).to_numpy(dtype=float)
    edges = edges[: len(values) + 1]
    dropped = int(np.searchsorted(edges, drop_first))
    reach = reach_of(values[dropped:])
    rows = range(len(values))

    def hatch(axes: Axes) -> None:
        axes.axhspan(0, dropped, facecolor="none", edgecolor="k", hatch="///", linewidth=0)
        axes.axhline(dropped, color="k", linewidth=1.2)

    notes = [
        f"Natural logarithm of the norm of the {inputs.site_label}. From position {SINGLE} on, a "
        "row holds several positions."
    ]
    in_last_row = names[row == last].unique()
    if len(in_last_row) < documents.max():
        groups = group_by_document(inputs.path("corpus"))
        notes.append(last_row_in_words([groups[name] for name in in_last_row]))
    if fewest > 1:
        notes.append(f"Rows of fewer than {fewest} documents are left out.")
    notes.append("Hatched: dropped from the regressions.")
    notes.append(sample_shown(sample.tokens, "tokens"))
    # Rows that nearly all documents reach differ in nothing but the position.
    compared = int((enough >= NEARLY_ALL * documents.max()).sum())
    last_edges = np.minimum(edges[dropped : compared + 1], longest + 1)
    return Sheet(
        title_of(values[dropped:compared], last_edges, sample.layers),
        sample.layers,
        [
            Map(
                values,
                [f"{edge:,}" for edge in edges[:-1]],
                "mean log norm,\nminus the layer's mean",
                ylabel="position in the sequence (tokens)",
                row_height=0.12,
                named=[at for at in rows if at < SINGLE or at % PER_DOUBLING == 0],
                limits=(-reach, reach),
                extra=hatch if dropped else None,
            )
        ],
        " ".join(filter(None, notes)),
        extent=counted(sample.tokens, "token"),
    )


def last_row_in_words(groups: Sequence[str]) -> str:
    """Return the number of documents of the last row, and the groups that most of them are of."""
    counts = pd.Series(groups).value_counts()
    text = f"The last row is of {counted(len(groups), 'document')}"
    if len(counts) < 2:
        return f"{text}."
    most = counts.head(MAX_GROUPS)
    names = listed([shortened(str(name)) for name in most.index])
    if len(counts) <= MAX_GROUPS:
        return f"{text}: {names}."
    return f"{text}, {int(most.sum())} of them {names}."


def title_of(values: np.ndarray, edges: np.ndarray, layers: list[int]) -> str:
    """Return how far the norms of layers drift from the first row of positions to the last.

    Row n has the positions from ``edges[n]`` to ``edges[n + 1] - 1``.
    """
    title = ""
    if len(values):
        means = pd.DataFrame(values, columns=layers)
        first = span_of_positions(edges[0], edges[1])
        last = span_of_positions(edges[-2], edges[-1])
        title = wording.title(position_drift(means, first, last))
    return title or "Norms along the text"


def span_of_positions(start: int, end: int) -> str:
    """Return the positions from ``start`` to before ``end``: ``27–29``, or ``1`` alone."""
    if end - start == 1:
        return f"{start:,}"
    return f"{start:,}–{end - 1:,}"
