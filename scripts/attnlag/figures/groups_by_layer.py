"""Coefficient of the nearest lag by layer, for each group of documents."""

from attnlag import wording
from attnlag.figures.inputs import Inputs
from attnlag.figures.templates import Map, Sheet, by_layer
from attnlag.figures.wording import inference_text, rows_in_words, shortened
from attnlag.regression.inference.groups import fitted_groups
from attnlag.regression.labels import UNITS
from attnlag.regression.terms import named, nearest_lag

DRAWN_BY = "plot_regression"
FIRST_REGRESSION = True
NEEDS = "groups"
CATEGORY = "coefficients"
SUBCATEGORY = "by group of documents"


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each group, the largest coefficient on top."""
    regression = inputs.regression
    settings = regression.settings
    alpha = settings["alpha"]
    extent = rows_in_words(regression.fits)
    table = regression.table("groups")
    term = nearest_lag(table["term"])
    rows = table[table["term"] == term]
    rows_by_group = rows.groupby("subset", sort=False)
    # Groups come with the largest coefficient first, those without one last.
    medians = rows_by_group["estimate"].median().sort_values(ascending=False, kind="stable")
    documents = rows_by_group["n_documents"].max().astype(int)[medians.index]
    if len(documents) < 2:
        claim = "The corpus has one group of documents, so there is nothing to compare"
        return Sheet(claim, extent=extent)
    layers = sorted(rows["layer"].unique())
    names = list(documents.index)
    reasons = {}
    for group, status in fitted_groups(rows)[1].items():
        reasons[names.index(group)] = f"not fitted: {status}"
    panel = Map(
        by_layer(rows, "subset", "estimate", names, layers),
        [f"{shortened(str(name))} ({count:,})" for name, count in documents.items()],
        f"coefficient of {named(term)}\n({UNITS[settings['outcome']]})",
        weak=by_layer(rows, "subset", "p_adjusted", names, layers) >= alpha,
        texts=reasons,
    )
    note = f"A regression per group; number of documents in brackets. A dot: p < {alpha:g}. "
    return Sheet(
        wording.title(regression.claims.all("groups_counted", term))
        or "No group of documents could be fitted separately",
        layers,
        [panel],
        f"{note}{inference_text(rows, settings['adjust'])}",
        extent=extent,
    )
