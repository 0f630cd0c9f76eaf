"""Attention heads by layer: lag, share of the adjustment, attention to the first token."""

from typing import Any

import numpy as np
import seaborn as sns

from attnlag import wording
from attnlag.claims.heads import claims_of_heads
from attnlag.claims.run import Claims
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Sheet, by_layer
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_heads"
CATEGORY = "directions"
SUBCATEGORY = "heads"

# Height of a cell in inches: 16 pixels of a page.
CELL_HEIGHT = 0.16

# Largest number of heads whose rows are all named.
MAX_NAMED_ROWS = 12


def figure(inputs: Inputs) -> Sheet:
    """Return up to three maps with a row for each head, one below the other.

    The title is about the lag, the titles of the other maps about what they show.
    """
    parts = inputs.table("heads")
    coefficients = inputs.table("head_coefficients")
    settings = inputs.record_of("heads").settings("heads_table")
    names = {"site": "attention"}
    table = parts[parts["part"] != WHOLE]
    term = nearest_lag(coefficients["term"])
    lags = coefficients[coefficients["term"] == term]
    lags_of_heads = lags[~lags["part"].isin([WHOLE, ABOVE])]
    layers = sorted(table["layer"].unique())
    heads_present = sorted(table["part"].unique(), key=int)
    if not heads_present:
        return Sheet("No heads were found", names=names)
    claims = Claims(tuple(claims_of_heads(parts, coefficients, settings)))
    lag = claims.one("head_lag")
    share = claims.one("head_share")
    sink = claims.one("head_sink")
    titles = wording.texts([lag, share, sink], "title")
    panels = []
    notes = ["Colours saturate for the most extreme 2% of the cells."]
    if lag:
        values = by_layer(lags_of_heads, "part", "estimate", heads_present, layers)
        title = f"{named(term)} of the norm of what each head writes"
        panels.append(panel(values, heads_present, "coefficient", title))
    for column, claim, label in (("share", share, "share (%)"), ("sink", sink, "attention (%)")):
        if claim:
            title = wording.clause(wording.text(claim, "title"))
            values = 100 * by_layer(table, "part", column, heads_present, layers)
            shades = {
                "colours": sns.color_palette("viridis", as_cmap=True),
                "limits": (0, float(np.nanquantile(values, 0.98))),
            }
            panels.append(panel(values, heads_present, label, title, **shades))
    if sink and "sink_tokens" in parts:
        traced = parts["sink_tokens"].max()
        notes.append(f"Attention is a mean over {traced:,.0f} tokens at the beginnings of texts.")
    if not panels:
        return Sheet("No token has norms of its heads", names=names)
    return Sheet(titles[0], layers, panels, " ".join(notes), alpha=settings["alpha"], names=names)


def panel(values: np.ndarray, heads_present: list[str], label: str, title: str, **shades: Any):
    """Return a map with a row for each head, of which some are named where there are many."""
    step = -(-len(heads_present) // MAX_NAMED_ROWS)
    named = range(0, len(heads_present), step)
    return Map(
        values,
        heads_present,
        label,
        title,
        ylabel="head",
        row_height=CELL_HEIGHT,
        named=named,
        **shades,
    )
