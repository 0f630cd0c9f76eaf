"""Findings on slopes by class of tokens, and on the part of a lag due to kinds of tokens."""

import textwrap

import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.classes import ALL, LINE
from attnlag.regression.beyond.decomposition import EFFECTS, POOLED
from attnlag.regression.design.moderators import PER_SD, POINTS
from attnlag.regression.design.properties import OTHER
from attnlag.regression.inference import results
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import named
from attnlag.report.wording import correction_without_draws, nearest_lag


def class_findings(
    slopes: pd.DataFrame, tests: pd.DataFrame, settings: RegressionSettings
) -> list[str]:
    """Return the slopes of the nearest lag by class of tokens, and whether they differ.

    The tables are those of `classes.SlopesByClass`.
    """
    term = nearest_lag(tests)
    slopes, tests = slopes[slopes["term"] == term], tests[tests["term"] == term]
    alpha = settings.alpha
    level = f"p < {alpha:g}, {correction_without_draws(settings.adjust)}"
    if LINE in set(tests["hypothesis"]):
        return _along(slopes, tests, alpha, level)
    classes = slopes[slopes["subset"] != ALL].dropna(subset="estimate")
    if classes["subset"].nunique() < 2:
        return [
            "slopes by class of token: fewer than two classes have enough rows and documents, or "
            "no layer could be fitted"
        ]
    medians = medians_in_words(classes[classes["subset"] != OTHER])
    p_values = tests["p_adjusted"].dropna()
    merged = tests["merged"].iloc[0]
    few = textwrap.shorten(merged, 100, placeholder=" …")
    return [
        f"{named(term)} by class of token{f', {medians}' * bool(medians)}; the classes differ in "
        f"{int((p_values < alpha).sum())} of {counted(len(p_values), 'layer')} (test of equal "
        f"slopes, {level}){f'; too few for separate slopes: {few}' * bool(merged)}"
    ]


def medians_in_words(table: pd.DataFrame) -> str:
    """Return the smallest and the largest median of several subsets, or nothing without intervals.

    ``table`` is as in `results.extremes`.
    """
    extremes = results.extremes(table)
    if extremes is None:
        return ""
    ends = " to ".join(
        f"{row['median']:.3f} in {row.name} ({row['median_low']:.3f} to {row['median_high']:.3f})"
        for row in extremes[:2]
    )
    count = table.dropna(subset="median_low")["subset"].nunique()
    return f"median over the layers: {ends}; intervals hold jointly for all {count}"


def decomposition_findings(steps: pd.DataFrame) -> list[str]:
    """Return the nearest lag in the pooled regression and with everything held fixed.

    Means over the layers are stated, which the means of the parts of the change add up to.
    """
    term = nearest_lag(steps)
    rows = steps[steps["term"] == term]
    by_step = rows.pivot(index="layer", columns="step", values="estimate")
    by_step = by_step[[POOLED, EFFECTS[-1]]].dropna()
    if by_step.empty:
        return []
    pooled, within = by_step.mean()
    documents = "a sample of " * bool(rows["sampled"].any())
    documents += counted(int(rows["n_documents"].max()), "document")
    return [
        f"holding documents, parts of speech and tokens fixed moves {named(term)} from "
        f"{pooled:.3f} to {within:.3f} (mean over the layers; {documents} with parts of speech)"
    ]


def _along(slopes: pd.DataFrame, tests: pd.DataFrame, alpha: float, level: str) -> list[str]:
    """Return the change of a slope with a number, and whether the change is linear."""
    at = slopes.groupby("subset")["estimate"].median()
    changes = slopes.loc[slopes["subset"] == PER_SD, "p_adjusted"].dropna()
    if changes.empty:
        return ["slopes by a number: no layer could be fitted"]
    low, _, high = POINTS
    bends = tests.loc[tests["hypothesis"] == LINE, "p_adjusted"].dropna()
    return [
        f"{named(slopes['term'].iloc[0])} by a number of the token, median over the layers: "
        f"{at[low]:.3f} at {low}, {at[high]:.3f} at {high}; it changes with the number in "
        f"{int((changes < alpha).sum())} of {counted(len(changes), 'layer')}; slopes of thirds "
        f"depart from the line in {int((bends < alpha).sum())} of {len(bends)} ({level})"
    ]
