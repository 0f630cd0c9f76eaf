"""Shares of the tokens that write adjustments, and lags of what they write, by layer."""

from typing import Any

from attnlag.claims import sources
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import GREY, PALETTE
from attnlag.figures.templates import Line, Lines, Sheet, profile
from attnlag.quantities.head_shares import WHOLE
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_sources"
CATEGORY = "directions"
SUBCATEGORY = "sources"
NEEDS = "sources"

STYLES: dict[str, dict[str, Any]] = {
    "the token itself": {"color": PALETTE[1]},
    "the token before": {"color": PALETTE[0]},
    "the first token": {"color": PALETTE[3]},
    "2 to 4 tokens before": {"color": PALETTE[2], "linestyle": (0, (5, 1.5))},
    "all others": {"color": "k", "linestyle": (0, (1, 1.2))},
}

# Parts of adjustments whose norms are regressed; the token itself has the colour that it has above.
LAGS_OF_PARTS = {
    WHOLE: ("by all tokens", GREY),
    "from_itself": ("by the\ntoken itself", PALETTE[1]),
    "from_earlier": ("by all earlier\ntokens", PALETTE[4]),
}


def figure(inputs: Inputs) -> Sheet:
    """Return the shares, and the lag of the norm of each part."""
    table = inputs.shares
    if table.empty:
        return Sheet("It is not known which tokens write the adjustments")
    layers = sorted(map(int, table["layer"].unique()))
    lines = []
    for label, rows in sources.shares(table).items():
        share, low, high = 100 * rows.reindex(layers).to_numpy(dtype=float).T
        lines.append(Line(share, label, low=low, high=high, **STYLES[label]))
    title = "who writes an adjustment (mean over tokens)"
    panels = [Lines(lines, "share of the adjustment (%)", title, height=3.0)]
    lags, note = inputs.lags, ""
    known = lags.dropna(subset="estimate") if len(lags) else lags
    if len(known):
        term = nearest_lag(known["term"])
        of_term = known[known["term"] == term]
        profiles = [
            profile(rows, layers, colour, end=label, shade=0.15)
            for part, (label, colour) in LAGS_OF_PARTS.items()
            if len(rows := of_term[of_term["part"] == part])
        ]
        missing = [layer for layer in layers if layer not in set(of_term["layer"])]
        title = f"{named(term)} of the log norm of what is written"
        panels.append(Lines(profiles, "coefficient", title, missing=missing, height=2.6))
        note = f" Coefficients have the terms of the regression '{inputs.settings['regression']}'."
    return Sheet(
        sources.previous_token(table).sentence,
        layers,
        panels,
        "A share is the projection of what a token writes on the whole adjustment: shares add up "
        f"to 100%, and one against the adjustment is negative. Shares are means over tokens.{note}",
        alpha=inputs.alpha,
    )
