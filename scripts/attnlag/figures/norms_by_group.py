"""Mean log norm by layer for each group of documents."""

from collections import Counter

import pandas as pd

from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document, largest_groups
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import shares_between
from attnlag.figures.templates import Map, Notice, Sheet
from attnlag.figures.wording import shortened, tokens_shown
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)
ON_REQUEST = True
CATEGORY = "norms"
SUBCATEGORY = "by group of documents"


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each group."""
    sample = inputs.sample.from_position(inputs.settings.drop_first)
    label = SITES[inputs.site].label
    group_of = group_by_document(inputs.corpus)
    groups, sizes = largest_groups(group_of), Counter(group_of.values())
    if len(groups) < 2:
        return Notice("The corpus has one group of documents, so there is nothing to compare")
    documents = pd.Index(tables.values_of(inputs.norms, "document", sample.rows))
    group = pd.Index(groups).get_indexer(documents.map(group_of))
    logs = sample.log_norms
    means = (logs - logs.mean()).groupby(group).mean().reindex(range(len(groups)))
    between, of_documents = (
        shares_between(logs, classes).median() for classes in (group, pd.factorize(documents)[0])
    )
    # Groups of documents that mean nothing share what lies between documents.
    by_chance = of_documents * (len(groups) - 1) / max(documents.nunique() - 1, 1)
    rows = [f"{shortened(group)} ({sizes[group]:,})" for group in groups]
    return Sheet(
        f"Groups of documents explain {between:.1%} of the variance of log norms (median layer; by "
        f"chance {by_chance:.1%})",
        sample.layers,
        [Map(means.to_numpy(), rows, "mean log norm,\nminus the layer's mean")],
        f"Norms of the {label}, {tokens_shown(sample.tokens)} except dropped ones; number of "
        "documents in brackets. Natural logarithms.",
    )
