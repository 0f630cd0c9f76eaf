"""Attention heads by layer: share of the adjustment, lag, attention to the first token."""

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.claims import heads
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Sheet, by_layer
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_heads"
CATEGORY = "directions"
SUBCATEGORY = "heads"


def figure(inputs: Inputs) -> Sheet:
    """Return up to three maps with a row for each head."""
    table = inputs.heads[inputs.heads["part"] != WHOLE]
    term = nearest_lag(inputs.coefficients["term"])
    lags = inputs.coefficients[inputs.coefficients["term"] == term]
    of_heads = lags[~lags["part"].isin([WHOLE, ABOVE])]
    layers = sorted(table["layer"].unique())
    names = sorted(table["part"].unique(), key=int)
    step = -(-len(names) // 24)
    rows = [name if int(name) % step == 0 else "" for name in names]
    viridis = sns.color_palette("viridis", as_cmap=True)
    panels = []
    for title, source, column, label, scale in (
        ("share of the squared norms", table, "share", "% of the layer's heads", 100.0),
        (f"{named(term)} of each head", of_heads, "estimate", "coefficient", 1.0),
        ("attention to the first token", table, "sink", "% of the head's attention", 100.0),
    ):
        values = scale * by_layer(source, "part", column, names, layers)
        if not np.isfinite(values).any():
            continue
        shares: dict = {"colours": viridis, "limits": (0, float(np.nanquantile(values, 0.98)))}
        kind = shares if scale > 1 else {}
        panels.append(Map(values, rows, label, title, ylabel="head", row_height=0.22, **kind))
    if not panels:
        return Sheet("No token has norms of its heads" if names else "No heads were found")
    made = heads.lag(inputs.coefficients), heads.share(inputs.heads), heads.sink(inputs.heads)
    claim = "; ".join(claim.clause for claim in made if claim)
    traced = inputs.heads.get("sink_tokens", pd.Series(dtype=float)).max()
    of_traced = f" Attention is a mean over {traced:,.0f} tokens at the beginnings of sequences."
    of_lags = "Coefficients are of the norms of their vectors; colours"
    return Sheet(
        claim[:1].upper() + claim[1:],
        layers,
        panels,
        f"Equal heads would have {100 / len(names):.0f}% of the squared norms each. "
        f"{of_lags if of_heads['estimate'].notna().any() else 'Colours'} saturate for the most "
        "extreme 2% of the cells." + of_traced * bool(traced > 0),
        across=len(panels),
        alpha=inputs.alpha,
    )
