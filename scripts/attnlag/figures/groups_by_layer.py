"""Coefficient of the nearest lag by layer, for each group of documents."""

import pandas as pd

from attnlag.claims.numbers import number
from attnlag.figures.inputs import Inputs
from attnlag.figures.legends import significant_text
from attnlag.figures.templates import Map, Notice, Sheet, by_layer
from attnlag.figures.wording import inference_text, shortened
from attnlag.regression.beyond.groups import fitted_groups
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import lags_among, named

DRAWN_BY = ("plot_regression",)
FIRST_REGRESSION = True
NEEDS = "groups"
CATEGORY = "coefficients"
SUBCATEGORY = "by group of documents"
METHOD = "Groups of documents were fitted one by one."


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each group."""
    table = inputs.groups
    term = lags_among(list(table["term"]))[0]
    rows = table[table["term"] == term]
    documents = rows.groupby("subset", sort=False)["n_documents"].max().astype(int)
    if len(documents) < 2:
        return Notice("The corpus has one group of documents, so there is nothing to compare")
    layers, names = sorted(rows["layer"].unique()), list(documents.index)
    estimates, p_values = (
        by_layer(rows, "subset", name, names, layers) for name in ("estimate", "p_adjusted")
    )
    panel = Map(
        estimates,
        [f"{shortened(str(name))} ({count:,})" for name, count in documents.items()],
        f"coefficient of {named(term)}\n({UNITS[inputs.outcome]})",
        weak=p_values >= inputs.alpha,
        texts={
            names.index(group): f"not fitted: {status}"
            for group, status in fitted_groups(rows)[1].items()
        },
    )
    note = (
        "A regression per group; number of documents in brackets. A dot: "
        f"{significant_text(inputs.alpha, inputs.adjust)}. "
    )
    return Sheet(
        claim_of(rows, term), layers, [panel], f"{note}{inference_text(rows, inputs.adjust)}"
    )


def claim_of(rows: pd.DataFrame, term: str) -> str:
    """Return in how many groups the median coefficient has the same sign, and its range."""
    medians = rows.groupby("subset", sort=False)["estimate"].median().dropna()
    if medians.empty:
        return "No group of documents could be fitted separately"
    positive = int((medians > 0).sum())
    sign, count = max(
        ("positive", positive), ("negative", len(medians) - positive), key=lambda s: s[1]
    )
    where = "every group" if count == len(medians) else f"{count} of {len(medians)} groups"
    low, high = (
        f"{number(median)} ({shortened(str(group))})"
        for group, median in (
            (medians.idxmin(), medians.min()),
            (medians.idxmax(), medians.max()),
        )
    )
    return (
        f"{named(term).capitalize()} is {sign} in {where} of documents: {low} to {high} in the "
        "median layer"
    )
