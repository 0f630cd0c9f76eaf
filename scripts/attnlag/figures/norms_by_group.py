"""Mean log norm by layer for each group of documents."""

from collections import Counter

import numpy as np
import pandas as pd

from attnlag.adjustments.sites import SITES
from attnlag.corpus.documents import group_by_document, largest_groups
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import share_between
from attnlag.figures.templates import Map, Notice, Sheet
from attnlag.figures.wording import shortened, tokens_shown
from attnlag.storage import tables

DRAWN_BY = ("plot_norms",)
ON_REQUEST = True
CATEGORY = "norms"
SUBCATEGORY = "by group of documents"


def figure(inputs: Inputs) -> Sheet:
    """Return a map with a row for each group."""
    sample, label = inputs.sample, SITES[inputs.site].label
    kept = sample.position >= inputs.settings.drop_first
    group_of = group_by_document(inputs.corpus)
    groups, sizes = largest_groups(group_of), Counter(group_of.values())
    if len(groups) < 2:
        return Notice("The corpus has one group of documents, so there is nothing to compare")
    documents = pd.Index(tables.values_of(inputs.norms, "document", sample.rows[kept]))
    group = pd.Index(groups).get_indexer(documents.map(group_of))
    codes = pd.factorize(documents)[0]
    means = np.empty((len(groups), len(sample.layers)))
    shares = np.empty((2, len(sample.layers)))
    for place, logs in enumerate(sample.log_norms):
        centred = pd.Series(logs[kept]) - np.nanmean(logs[kept])
        means[:, place] = centred.groupby(group).mean().reindex(range(len(groups)))
        shares[:, place] = [share_between(logs[kept], classes) for classes in (group, codes)]
    between, of_documents = np.nanmedian(shares, axis=1)
    # Groups of documents that mean nothing share what lies between documents.
    by_chance = of_documents * (len(groups) - 1) / max(len(set(codes)) - 1, 1)
    rows = [f"{shortened(group)} ({sizes[group]:,})" for group in groups]
    return Sheet(
        f"Groups of documents explain {between:.1%} of the variance of log norms (median layer; by "
        f"chance {by_chance:.1%})",
        sample.layers,
        [Map(means, rows, "mean log norm,\nminus the layer's mean")],
        f"Norms of the {label}, {tokens_shown(sample.tokens)} except dropped ones; number of "
        "documents in brackets. Natural logarithms.",
    )
