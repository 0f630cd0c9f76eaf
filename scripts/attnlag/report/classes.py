"""Findings on slopes by class of tokens, and on the part of a lag due to kinds of tokens."""

import textwrap

import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.classes import ALL, LINE
from attnlag.regression.beyond.decomposition import EFFECTS, POOLED
from attnlag.regression.design.moderators import PER_SD, POINTS
from attnlag.regression.design.properties import OTHER
from attnlag.regression.inference import results
from attnlag.regression.terms import lags_among, named


def class_findings(slopes: pd.DataFrame, tests: pd.DataFrame, *, alpha: float, by: str) -> str:
    """Return the medians of slopes over classes of tokens, and the number of layers that differ.

    The tables are those of `classes.SlopesByClass`; ``by`` is the correction of p-values in words.
    """
    term = lags_among(list(tests["term"]))[0]
    if LINE in set(tests["hypothesis"]):
        return _along(slopes[slopes["term"] == term], tests[tests["term"] == term], alpha, by)
    rows = slopes[(slopes["term"] == term) & (slopes["subset"] != ALL)]
    rows = rows.dropna(subset="estimate")
    if rows["subset"].nunique() < 2:
        return (
            "  slopes by class of token: fewer than two classes have enough rows and documents, or "
            "no layer could be fitted\n"
        )
    medians = medians_in_words(rows[rows["subset"] != OTHER])
    of_term = tests[tests["term"] == term].dropna(subset="p_adjusted")
    rejected = int((of_term["p_adjusted"] < alpha).sum())
    merged = str(tests["merged"].iloc[0])
    other = textwrap.shorten(merged, 100, placeholder=" …")
    few = f"; too few for separate slopes: {other}" if merged else ""
    return (
        f"  {named(term)} by class of token{f', {medians}' * bool(medians)}; the classes differ in "
        f"{rejected} of {counted(len(of_term), 'layer')} (test of equal slopes, "
        f"p < {alpha:g}, {by}){few}\n"
    )


def medians_in_words(table: pd.DataFrame) -> str:
    """Return the smallest and the largest median of several subsets, or nothing without intervals.

    ``table`` is as in `results.extremes`.
    """
    found = results.extremes(table)
    if found is None:
        return ""
    ends = [
        f"{row['median']:.3f} in {row.name} ({row['median_low']:.3f} to {row['median_high']:.3f})"
        for row in found[:2]
    ]
    count = table.dropna(subset="median_low")["subset"].nunique()
    return f"median over the layers: {' to '.join(ends)}; intervals hold jointly for all {count}"


def decomposition_findings(steps: pd.DataFrame) -> str:
    """Return the nearest lag in the pooled regression and with everything held fixed.

    Means over the layers are stated, which the means of the parts of the change add up to.
    """
    term = lags_among(list(steps["term"]))[0]
    rows = steps[steps["term"] == term]
    own = rows.pivot(index="layer", columns="step", values="estimate")
    own = own[[POOLED, EFFECTS[-1]]].dropna()
    if own.empty:
        return ""
    first, last = own.mean()
    documents = "a sample of " * bool(rows["sampled"].any())
    documents += counted(int(rows["n_documents"].max()), "document")
    return (
        f"  holding documents, parts of speech and tokens fixed moves {named(term)} from "
        f"{first:.3f} to {last:.3f} (mean over the layers; {documents} with parts of speech)\n"
    )


def _along(slopes: pd.DataFrame, tests: pd.DataFrame, alpha: float, by: str) -> str:
    """Return the change of a slope with a number, and whether the change is linear."""
    at = slopes.groupby("subset")["estimate"].median()
    change = slopes[slopes["subset"] == PER_SD].dropna(subset="p_adjusted")
    if change.empty:
        return "  slopes by a number: no layer could be fitted\n"
    low, _, high = POINTS
    changes = int((change["p_adjusted"] < alpha).sum())
    bends = tests[tests["hypothesis"] == LINE].dropna(subset="p_adjusted")
    bent = int((bends["p_adjusted"] < alpha).sum())
    term = named(slopes["term"].iloc[0])
    return (
        f"  {term} by a number of the token, median over the layers: {at[low]:.3f} at {low}, "
        f"{at[high]:.3f} at {high}; it changes with the number in {changes} of "
        f"{counted(len(change), 'layer')}; slopes of thirds depart from the line in {bent} of "
        f"{len(bends)} (p < {alpha:g}, {by})\n"
    )
