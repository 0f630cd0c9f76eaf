"""The findings on attention heads in words."""

import pandas as pd

from attnlag.regression.heads import ABOVE, WHOLE


def heads_findings(table: pd.DataFrame, name: str) -> str:
    """Return how much single heads write, how they agree, and what the floor does to the lag.

    Parameters
    ----------
    table : pandas.DataFrame
        From `regression.heads.table`.
    name : str
        Names of the model, the corpus and the site.
    """
    if table.empty:
        return f"{name}, heads:\n  none were found in this model\n"
    by_head = table[~table["part"].isin([WHOLE, ABOVE])]
    whole, above = (table[table["part"] == part].set_index("layer") for part in (WHOLE, ABOVE))
    if by_head["share"].isna().all():
        return f"{name}, heads:\n  no token counts: all are first tokens, or have no norms\n"
    largest = by_head.groupby("layer")["share"].max()
    count = by_head["part"].nunique()
    lags = by_head["lag_1"].dropna()
    agree = whole["coherence"]
    lines = [
        f"the largest of {count} heads has {largest.median():.0%} of their squared norms in the "
        f"median layer ({largest.max():.0%} in layer {largest.idxmax()}), where equal ones have "
        f"{1 / count:.0%}",
        f"coherence, |sum|² / sum of |head|², is {agree.median():.2f} in the median layer "
        f"({agree.min():.2f} in layer {agree.idxmin()} to {agree.max():.2f} in layer "
        f"{agree.idxmax()}), where heads at right angles have 1",
    ]
    if len(lags):
        of_layer = whole["lag_1"].median()
        lines.append(
            f"lag 1 of single heads, within documents: median {lags.median():.3f}, "
            f"{lags.min():.3f} to {lags.max():.3f}, positive in {int((lags > 0).sum())} of "
            f"{len(lags)}; of their sum {of_layer:.3f} in the median layer"
        )
    most = whole["at_floor"].nlargest(3)
    where = ", ".join(f"{share:.0%} in layer {layer}" for layer, share in most.items())
    floor = (
        f"at the floor, where heads write what their sequence's first token wrote, are {where}, "
        f"{whole['at_floor'].median():.1%} in the median layer"
    )
    both = [
        f"{above.loc[layer, 'lag_1']:.3f} ({whole.loc[layer, 'lag_1']:.3f} with them)"
        for layer in most.index
        if pd.notna(above.loc[layer, "lag_1"])
    ]
    if both:
        floor += f"; without these tokens lag 1 there is {', '.join(both)}"
    lines.append(floor)
    return "\n".join([f"{name}, heads:", *(f"  {line}" for line in lines)]) + "\n"
