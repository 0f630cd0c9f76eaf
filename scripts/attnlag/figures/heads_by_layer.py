"""Attention heads by layer: share of the adjustment, lag, attention to the first token."""

import numpy as np
import pandas as pd
import seaborn as sns

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Notice, Sheet, by_layer
from attnlag.quantities.head_shares import ABOVE, WHOLE
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_heads",)
CATEGORY = "directions"
SUBCATEGORY = "heads"
METHOD = (
    "A head writes its values, weighted by attention, through its slice of the output "
    "projection; its share is the squared norm of this vector among those of its layer, and "
    "the logarithm of its norm was regressed as that of the sum."
)

# Medians that differ by less are said to be the same.
ALIKE = 0.05


def figure(inputs: Inputs) -> Sheet:
    """Return up to three maps with a row for each head."""
    table = inputs.heads[inputs.heads["part"] != WHOLE]
    term = (lags_among(list(inputs.coefficients["term"])) or ["lag_1"])[0]
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
        return Notice("No token has norms of its heads" if names else "No heads were found")
    of_sum = lags.loc[lags["part"] == WHOLE, "estimate"].median()
    return Sheet(
        claim_of(of_heads["estimate"], of_sum, term, table, len(names)),
        layers,
        panels,
        f"Equal heads would have {100 / len(names):.0f}% of the squared norms each. Coefficients "
        "are of the norms of their vectors; colours saturate for the most extreme 2% of the cells.",
        across=len(panels),
        alpha=inputs.alpha,
    )


def claim_of(of_heads: pd.Series, of_sum: float, term: str, table: pd.DataFrame, heads: int) -> str:
    """Return the median lag of heads beside that of their sum, the largest share, and the sink."""
    single, share, sink = of_heads.median(), table["share"].max(), table["sink"].median()
    claims = []
    if not np.isfinite(single):
        claims.append(f"{heads} heads per layer, whose lags could not be fitted")
    elif abs(single - of_sum) <= ALIKE:
        sizes = f"{number(single)} and {number(of_sum)}"
        claims.append(f"Single heads show the same lag as their sum ({sizes})")
    else:
        lag, ends = named(term).capitalize(), (number(single), number(of_sum))
        claims.append(f"{lag} of single heads is {ends[0]}, that of their sum {ends[1]}")
    if np.isfinite(share):
        claims.append(f"one head writes up to {share:.0%} of a layer")
    if np.isfinite(sink):
        claims.append(f"the first token gets {sink:.0%} of the median head's attention")
    return "; ".join(claims)
