"""One regression in every layer, from the files of all shards to the tables of results.

The estimates come from the cross-products. A second pass over the design gives the statistics that
need residuals.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from attnlag.errors import UserError, counted
from attnlag.quantities.columns import layer_name
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.design.design import read_counts
from attnlag.regression.estimation import merging, residuals
from attnlag.regression.estimation.crossproducts import Stored
from attnlag.regression.estimation.least_squares import solve
from attnlag.regression.estimation.moments import Moments, TermSums
from attnlag.regression.estimation.regress import LayerFit
from attnlag.regression.estimation.residuals import ResidualSums
from attnlag.regression.inference import (
    bootstrap,
    controls,
    diagnostics,
    groups,
    permutation,
    results,
)
from attnlag.regression.inference.controls import Untrained
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.regression.terms import is_lag
from attnlag.storage import tables


@dataclass
class FittedRegression:
    """A regression of all documents and of each group of them, beside its controls."""

    settings: RegressionSettings  # with few documents, those of `_possible`
    layers: list[int]
    coefficients: pd.DataFrame
    goodness: pd.DataFrame
    medians: pd.DataFrame  # of each coefficient over the layers
    residual_sums: ResidualSums
    # Number of bins that documents share, as clusters, if their moments exceed the memory budget.
    bins: int | None
    # What findings, read from tables, do without.
    influence: pd.DataFrame = field(default_factory=pd.DataFrame)
    kept_terms: TermSums = field(default_factory=dict)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    controls: pd.DataFrame = field(default_factory=pd.DataFrame)  # lags and leads beside these
    before_training: pd.DataFrame | None = None  # a row per scale of the weights and quantity

    @property
    def merged(self) -> dict[str, list[str]]:
        """The columns of the design that each term of merged classes is the sum of."""
        return {term: list(sums) for term, sums in self.kept_terms.items() if list(sums) != [term]}


def fit_regression(
    products: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
    *,
    orders: Sequence[PermutedMoments] = (),
    untrained: Sequence[Untrained] = (),
    threads: int = 1,
) -> FittedRegression:
    """Fit a regression in every layer, and its controls: the tables of a run, and of a notebook.

    Cross-products, designs and permuted ``orders`` are those of all shards, in order, and
    ``group_of`` has the documents in the order of the corpus. Without orders tokens are not
    permuted; without what `controls.untrained` gives there is no control of random weights. Each
    thread reads one shard at a time, and the results do not depend on their number.

    A UserError says if no sequence is long enough for a row, or if there are too few documents for
    the chosen errors or correction.
    """
    record = tables.read_provenance(products[0])
    counts = [read_counts(path) for path in designs]
    sequences = _usable_sequences(counts, record.names)
    stored = Stored(products, settings.stack_mb * 1e6, keep=True)
    settings, clusters = _possible(settings, stored, group_of)
    kept = merging.kept_terms(stored.terms, stored)

    def layers(group_of: Mapping[str, str] | None) -> Iterator[Moments]:
        """Yield the moments of the regression of each layer."""
        effects = settings.fixed_effects == "document"
        for moments in stored:
            halves = moments if settings.bias_correction == "half-panel" else moments.whole()
            yield halves.prepared(kept, effects=effects, group_of=group_of)

    clustered_by = group_of if settings.cluster == "group" else None
    # The estimates alone give the residuals, which some errors need; the fits have the rest.
    lines = [residuals.line_of(solve(moments)) for moments in layers(clustered_by)]
    hac_lags = settings.hac_lags
    if hac_lags is None:
        hac_lags = residuals.default_hac_lags(max(line.rows for line in lines) / sequences)
    sums = residuals.sums_of_shards(designs, lines, hac_lags, threads, kept)
    robust: Iterable[np.ndarray | None] = repeat(None)
    if CATALOGUE[settings.covariance].residuals:
        robust = residuals.robust_meat(sums)
    folds: Iterable[int | Moments]
    folds = layers(group_of) if settings.folds == "groups" else repeat(settings.folds)
    draws: bootstrap.Draws | None = None
    fits: list[LayerFit] = []
    for moments, own_folds, meat in zip(layers(clustered_by), folds, robust, strict=False):
        if draws is None:
            count = settings.bootstrap if clusters >= FEWEST_DOCUMENTS else 0
            draws = bootstrap.Draws(len(moments.clusters), count, settings.seed)
        fit = LayerFit(moments, settings.covariance, own_folds, robust_meat=meat, draws=draws)
        fits.append(fit)
    dropped = [
        sum(count["dropped_rows"].get(layer_name(layer), 0) for count in counts)
        for layer in stored.layers
    ]
    drawn = np.stack([fit.drawn for fit in fits], axis=1)
    tests = diagnostics.table(sums, lines).drop(columns="layer")
    mixers = record["model"].get("mixers") or {}
    coefficients = results.coefficients_table(fits, settings)
    goodness = results.fits_table(fits, dropped, tests, mixers, settings.adjust)
    keys, before_training = ["layer", "term"], None
    beside = coefficients.loc[coefficients["term"].map(is_lag), [*keys, "estimate"]]
    beside = beside.merge(goodness[["layer", "r_squared"]], on="layer", how="left")
    if orders:
        by_layer = permutation.orders_by_layer(orders, kept)
        beside = beside.merge(permutation.order_test(by_layer, settings), on=keys, how="left")
        beside["permuted_within"] = orders[0].within
    if untrained:
        random, before_training = controls.random_weights(untrained, settings, stored)
        beside = beside.merge(random, on=keys, how="left")
    return FittedRegression(
        settings=settings,
        layers=stored.layers,
        coefficients=coefficients,
        goodness=goodness,
        medians=bootstrap.medians_over_layers(fits, drawn, settings.alpha),
        residual_sums=sums,
        bins=stored.bins if clustered_by is None else None,
        influence=results.influence_table(fits),
        kept_terms=kept,
        groups=groups.coefficients_by_group(stored, group_of, settings),
        controls=beside,
        before_training=before_training,
    )


def _possible(
    settings: RegressionSettings, layers: Sequence[Moments], group_of: Mapping[str, str]
) -> tuple[RegressionSettings, int]:
    """Return the settings that the documents allow, and the number of clusters.

    If documents are too few to cluster by, clustered errors become HAC errors within sequences. The
    half-panel jackknife has no HAC errors, so it is switched off. The mean of a single document is
    the intercept.
    """
    documents = max(moments.documents for moments in layers)
    if documents < FEWEST_DOCUMENTS:
        clustered = CATALOGUE[settings.covariance].clustered
        settings = settings.changed(
            fixed_effects=settings.fixed_effects if documents > 1 else "none",
            bias_correction="none",
            covariance="hac" if clustered else settings.covariance,
            cluster="document",
        )
    if settings.cluster == "document":
        return settings, documents
    clusters = max(moments.whole().by_group(group_of).count for moments in layers)
    if clusters < FEWEST_DOCUMENTS:
        raise UserError(
            f"found {counted(clusters, 'group')} of documents with rows, expected at least "
            f"{FEWEST_DOCUMENTS} for errors clustered by group; cluster by document, or give "
            "documents of more groups"
        )
    return settings, clusters


def _usable_sequences(counts: Sequence[Mapping[str, Any]], names: str) -> int:
    """Return the number of sequences that give rows, from the counts of the shards' designs."""
    sequences = sum(count["sequences"] - count["short_sequences"] for count in counts)
    if not sequences:
        longest, least = (
            max(count[name] for count in counts) for name in ("longest_sequence", "fewest_tokens")
        )
        raise UserError(
            f"{names}: found no sequence long enough to give a row: the longest has "
            f"{counted(longest, 'token')}, expected at least {least}; give longer texts, nearer "
            "lags and leads, or drop fewer tokens at the start of sequences"
        )
    return sequences
