"""Shares of the tokens that write adjustments, and lags of what they write, by layer."""

from collections.abc import Sequence

import pandas as pd

from attnlag import wording
from attnlag.claims import sources
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import Line, Lines, Sheet, profile
from attnlag.figures.wording import tokens_in_words
from attnlag.quantities.head_shares import WHOLE
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_sources"
CATEGORY = "directions"
SUBCATEGORY = "sources"
NEEDS = "sources"

COLOURS = {
    "the token itself": PALETTE[1],
    "the token before": PALETTE[0],
    "the first token": PALETTE[3],
    "2 to 4 tokens before": PALETTE[2],
    "all others": GREY,
}

# Parts of adjustments whose norms are regressed; the token itself has the colour that it has above.
LAGS_OF_PARTS = {
    WHOLE: ("by all tokens", "k"),
    "from_itself": ("by the token itself", PALETTE[1]),
    "from_earlier": ("by earlier tokens", PALETTE[4]),
}


def figure(inputs: Inputs) -> Sheet:
    """Return a panel for the share of each kind of token, and one of lags of what is written."""
    table = inputs.table("shares")
    settings = inputs.record_of("shares").settings("traced_table")
    if table.empty:
        return Sheet("It is not known which tokens write the adjustments")
    layers = sorted(map(int, table["layer"].unique()))
    panels = []
    for label, rows in sources.shares(table).items():
        share, low, high = 100 * rows.reindex(layers).to_numpy(dtype=float).T
        line = Line(share, low=low, high=high, color=COLOURS[label])
        panels.append(Lines([line], "share (%)", f"written by {label}", share="shares"))
    note = (
        "A share is the projection of what a token writes on the whole adjustment, as a mean over "
        "tokens: shares of a layer add up to 100%, and one against the adjustment is negative."
    )
    known = inputs.table("lags")
    if len(known):
        known = known.dropna(subset="estimate")
    if len(known):
        panels.append(panel_of_lags(known, layers))
        note += f" Coefficients have the terms of the regression '{settings['regression']}'."
    return Sheet(
        wording.title([*sources.written_by(table, "mean", "previous_1")]),
        layers,
        panels,
        note,
        across=3,
        alpha=settings["alpha"],
        extent=tokens_in_words(table),
    )


def panel_of_lags(lags: pd.DataFrame, layers: Sequence[int]) -> Lines:
    """Return the nearest lag of the norm of each part of an adjustment."""
    term = nearest_lag(lags["term"])
    rows = lags[lags["term"] == term]
    lines = []
    for part, (label, colour) in LAGS_OF_PARTS.items():
        rows_of_part = rows[rows["part"] == part]
        if len(rows_of_part):
            lines.append(profile(rows_of_part, layers, colour, label=label, shade=0.1))
    missing = [layer for layer in layers if layer not in set(rows["layer"])]
    title = f"{named(term)} of what is written"
    return Lines(lines, "coefficient", title, missing=missing, direct=True)
