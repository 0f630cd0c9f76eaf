"""Findings on slopes by class of tokens, and on the part of a lag due to kinds of tokens."""

import textwrap

import pandas as pd

from attnlag.claims.subsets import by_class, class_name, intervals
from attnlag.errors import counted
from attnlag.regression.beyond.classes import ALL
from attnlag.regression.beyond.decomposition import EFFECTS, POOLED
from attnlag.regression.design.properties import OTHER
from attnlag.regression.labels import correction
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import named
from attnlag.report.wording import nearest_lag


def class_findings(
    slopes: pd.DataFrame, tests: pd.DataFrame, settings: RegressionSettings
) -> list[str]:
    """Return the slopes of the nearest lag by class of tokens, and whether they differ.

    The tables are those of `classes.SlopesByClass`.
    """
    term = nearest_lag(tests)
    slopes, tests = slopes[slopes["term"] == term], tests[tests["term"] == term]
    alpha = settings.alpha
    level = f"p < {alpha:g}, {correction(settings.adjust)}"
    classes = slopes[slopes["subset"] != ALL].dropna(subset="estimate")
    if classes["subset"].nunique() < 2:
        return [
            "slopes by class of token: fewer than two classes have enough rows and documents, or "
            "no layer could be fitted"
        ]
    claim = by_class(slopes, tests, "class of token", alpha)
    medians = intervals(classes[classes["subset"] != OTHER], class_name)
    merged = tests["merged"].iloc[0]
    few = textwrap.shorten(merged, 100, placeholder=" …")
    return [
        f"{claim.clause} (test of equal slopes, {level}){f'; {medians}' * bool(medians)}"
        f"{f'; too few for separate slopes: {few}' * bool(merged)}"
    ]


def decomposition_findings(steps: pd.DataFrame) -> list[str]:
    """Return the mean over layers of the nearest lag, pooled and with everything held fixed."""
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
