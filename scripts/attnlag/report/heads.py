"""Findings on attention heads in words."""

import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.heads import ABOVE, WHOLE
from attnlag.regression.labels import with_minus_signs
from attnlag.regression.terms import lags_among, named
from attnlag.report.medians import in_common


def heads_findings(
    parts: pd.DataFrame,
    coefficients: pd.DataFrame,
    name: str,
    regression: str,
    proof: str,
    sinks: str,
) -> str:
    """Return the findings on shares, coherence, lags, floor and attention sinks of heads.

    ``proof`` is the error of the sum of heads, or the reason for their absence, and ``sinks`` how
    attention to first tokens was measured, or the reason for its absence.
    """
    if parts.empty:
        return f"{name}, heads:\n  {proof}\n"
    by_head, whole = parts[parts["part"] != WHOLE], parts[parts["part"] == WHOLE].set_index("layer")
    if by_head["share"].isna().all():
        return f"{name}, heads:\n  no tokens remain: all are first tokens or have no norms\n"
    largest = by_head.groupby("layer")["share"].max()
    count = by_head["part"].nunique()
    agree = whole["coherence"]
    lines = [
        f"the largest of {count} heads has {largest.median():.0%} of their squared norms in the "
        f"median layer ({largest.max():.0%} in layer {largest.idxmax()}), whereas equal heads have "
        f"{1 / count:.0%}",
        f"coherence, |sum|² / sum of |head|², is {agree.median():.2f} in the median layer "
        f"({agree.min():.2f} in layer {agree.idxmin()} to {agree.max():.2f} in layer "
        f"{agree.idxmax()}); orthogonal heads have 1",
        *_lags(coefficients, regression),
        _floor(whole, coefficients),
        *_sinks(by_head, whole, sinks),
    ]
    text = "\n".join([f"{name}, heads:", *(f"  {line}" for line in lines)])
    return with_minus_signs(text) + "\n"


def _of_nearest(coefficients: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """Return the nearest lag in words, and its rows that have an estimate."""
    term = (lags_among(list(coefficients["term"])) or ["lag_1"])[0]
    rows = coefficients[(coefficients["term"] == term) & coefficients["estimate"].notna()]
    return named(term), rows


def _lags(coefficients: pd.DataFrame, regression: str) -> list[str]:
    """Return the lag of single heads, of their sum and of the controls."""
    lag, rows = _of_nearest(coefficients)
    heads = rows[~rows["part"].isin([WHOLE, ABOVE])]
    if heads.empty:
        return []
    values = heads["estimate"]
    controls = {
        "permuted_mean": "in permuted order {:.3f}",
        "random_weights": "before training {:.3f}",
        "trained": "after it {:.3f} (the same documents, neither corrected for bias)",
    }
    shared = in_common(heads, ["estimate", *controls])
    medians = shared.median()
    beside = [words.format(medians[key]) for key, words in controls.items() if key in medians]
    present = heads["finding"] == "present"
    layers = heads.loc[shared.index, "layer"]
    sums = rows[(rows["part"] == WHOLE) & rows["layer"].isin(layers)]
    of_layers = sums["estimate"].median()
    lines = [
        f"{lag} of single heads, with the terms of the regression '{regression}': median "
        f"{medians['estimate']:.3f} ({values.min():.3f} to {values.max():.3f}), that of their sum "
        f"{of_layers:.3f}",
        f"{lag} is shown to matter in {int(present.sum())} of {counted(len(values), 'head')}, and "
        f"positive in {int((present & (values > 0)).sum())} of these",
    ]
    return [*lines, f"{lag} of single heads is {', '.join(beside)}"] if beside else lines


def _floor(whole: pd.DataFrame, coefficients: pd.DataFrame) -> str:
    """Return the layers with tokens at the floor, and their lag with and without these tokens."""
    most = whole["at_floor"].nlargest(3)
    where = ", ".join(f"{share:.0%} in layer {layer}" for layer, share in most.items())
    text = (
        f"tokens at the floor, where heads write the same as at the first token: {where}, "
        f"{whole['at_floor'].median():.1%} in the median layer"
    )
    lag, rows = _of_nearest(coefficients)
    of_all, above = (
        rows[rows["part"] == part].set_index("layer")["estimate"] for part in (WHOLE, ABOVE)
    )
    both = [
        f"{above[layer]:.3f} ({of_all[layer]:.3f} with them)"
        for layer in most.index
        if layer in above.index and layer in of_all.index
    ]
    return f"{text}; without these tokens {lag} there is {', '.join(both)}" if both else text


def _sinks(by_head: pd.DataFrame, whole: pd.DataFrame, reason: str) -> list[str]:
    """Return the attention of heads to the first token, also for tokens at the floor."""
    sink = whole["sink"]
    if sink.isna().all():
        return [reason]
    heads = by_head["sink"]
    lines = [
        f"heads give {sink.median():.0%} of their attention to the first token in the median layer "
        f"({sink.max():.0%} in layer {sink.idxmax()}), more than half in "
        f"{int((heads > 0.5).sum())} of {len(heads)} heads; equal attention to all tokens "
        f"would give {whole['sink_uniform'].iloc[0]:.0%} (mean over "
        f"{int(whole['sink_tokens'].iloc[0]):,} tokens at the beginnings of sequences)"
    ]
    known = whole.dropna(subset=["sink_at_floor", "sink_above"])
    if len(known):
        row = known.iloc[int(known["at_floor"].argmax())]
        there, above = (known[name].median() for name in ("sink_at_floor", "sink_above"))
        lines.append(
            f"tokens at the floor give {there:.0%} of their attention to the first token, those "
            f"above it {above:.0%} (medians over the {counted(len(known), 'layer')} with any); in "
            f"layer {row.name}, with {row['at_floor']:.0%} of its tokens at the floor, "
            f"{row['sink_at_floor']:.0%} and {row['sink_above']:.0%}"
        )
    return lines
