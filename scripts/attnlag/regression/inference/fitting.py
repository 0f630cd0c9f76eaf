"""One regression in every layer, from the files of all shards to the tables of results.

The estimates come from the cross-products. A second pass over the design gives the statistics that
need residuals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from attnlag.errors import UserError, counted
from attnlag.quantities.columns import layer_name
from attnlag.regression.beyond import groups
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.estimation import (
    crossproducts,
    least_squares,
    merging,
    regress,
    residuals,
)
from attnlag.regression.estimation.regress import LayerFit
from attnlag.regression.estimation.residuals import ResidualSums
from attnlag.regression.estimation.stacks import Stack
from attnlag.regression.inference import (
    bootstrap,
    controls,
    diagnostics,
    halves,
    permutation,
    results,
)
from attnlag.regression.inference.permutation import PermutedProducts
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import RegressionSettings
from attnlag.storage import tables


@dataclass
class FittedRegression:
    """A fitted regression."""

    settings: RegressionSettings  # with few documents, those of `settings_of_few_documents`
    layers: list[int]
    fits: list[LayerFit]  # one per layer
    coefficients: pd.DataFrame
    goodness: pd.DataFrame
    influence: pd.DataFrame
    medians: pd.DataFrame  # of each coefficient over the layers
    residual_sums: ResidualSums
    kept_terms: merging.TermSums
    # Number of bins that documents share if their cross-products do not fit the memory budget.
    bins: int | None

    @property
    def merged(self) -> dict[str, list[str]]:
        """The columns of the design that each term of merged classes is the sum of."""
        return {term: list(sums) for term, sums in self.kept_terms.items() if list(sums) != [term]}


class Untrained(NamedTuple):
    """What is regressed before training, at each scale of the initial weights."""

    norms: Sequence[Path]
    streams: Sequence[Path]  # at the same tokens, for relative norms; otherwise empty
    facts: Mapping[str, Any]  # from `covariates.read_facts`


@dataclass
class Fitted:
    """A regression of all documents and of each group of them, beside its controls."""

    regression: FittedRegression
    groups: pd.DataFrame
    controls: pd.DataFrame  # the lags and leads beside those of the controls
    before_training: pd.DataFrame | None  # a row per scale of the weights and quantity


def fit(
    products: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
    *,
    orders: Sequence[PermutedProducts] = (),
    untrained: Untrained | None = None,
    threads: int = 1,
) -> Fitted:
    """Fit a regression and its controls: the tables of a run, and of a notebook.

    Parameters that are not listed are those of `fit_regression`.

    Parameters
    ----------
    orders : sequence of PermutedProducts
        Files of all shards, in order; without them tokens are not permuted.
    untrained : Untrained, optional
        The control of random weights.
    """
    fitted = fit_regression(products, designs, group_of, settings, threads)
    settings = fitted.settings
    shards = [crossproducts.read_shard(path) for path in products]
    by_group = groups.coefficients_by_group(shards, group_of, groups.settings_of_groups(settings))
    order = random = None
    if orders:
        merged = permutation.merged_terms(permutation.merged_products(orders), fitted.kept_terms)
        order = permutation.order_test(merged, alpha=settings.alpha, adjust=settings.adjust)
    if untrained:
        random = controls.random_weights(
            untrained.norms, settings, untrained.facts, shards, untrained.streams
        )
    with_controls = controls.controls_table(fitted.coefficients, fitted.goodness, order, random)
    return Fitted(fitted, by_group, with_controls, None if random is None else random.compared)


def fit_regression(
    products: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
    threads: int,
) -> FittedRegression:
    """Fit a regression in every layer.

    Parameters
    ----------
    products, designs : sequence of Path
        Cross-products and designs of all shards, in order.
    group_of : mapping of document to group
        In the order of the corpus.
    threads : int
        Number of shards that are read concurrently. The results do not depend on it.

    Raises
    ------
    UserError
        If no sequence is long enough for a row, or there are too few documents for the chosen
        errors or correction.
    """
    record = tables.read_provenance(products[0])
    counts = [tables.read_counts(path) for path in designs]
    sequences = _usable_sequences(counts, record.names)
    shards = [crossproducts.read_shard(path) for path in products]
    documents = int(np.sum([shard.totals.documents for shard in shards], axis=0).max(initial=0))
    if documents < FEWEST_DOCUMENTS:
        settings = settings_of_few_documents(settings, documents)
        shards = [crossproducts.without_halves(shard) for shard in shards]
    kept = merging.kept_terms(shards)
    shards = [merging.merged_shard(shard, kept) for shard in shards]

    def stack_of(group_of: Mapping[str, str] | None) -> Stack:
        return merging.stack_of(
            shards, settings, {term: (term,) for term in kept}, group_of=group_of
        )

    stack = stack_of(group_of if settings.cluster == "group" else None)
    clusters = max((stack.count(index) for index in range(len(stack.layers))), default=0)
    _check_errors(settings, clusters)
    solutions = least_squares.solve_all(stack)
    model = residuals.residual_model(stack, solutions)
    hac_lags = settings.hac_lags
    if hac_lags is None:
        rows = max(solution.n_obs for solution in solutions)
        hac_lags = residuals.default_hac_lags(rows / sequences)
    sums = residuals.sums_of_shards(designs, shards, model, hac_lags, threads)

    robust = None
    if CATALOGUE[settings.covariance].residuals:
        robust = list(residuals.robust_meat(sums, model))
    folds = stack_of(group_of) if settings.folds == "groups" else settings.folds
    fits = regress.fit(stack, settings.covariance, folds, solutions, robust)
    tests_of_halves = halves.equal_halves(stack, solutions)
    for fit, test in zip(fits, tests_of_halves, strict=True):
        fit.halves = test
    coefficients = results.coefficients_table(fits, stack, settings)
    count = settings.bootstrap if clusters >= FEWEST_DOCUMENTS else 0
    draws = bootstrap.drawn(stack, solutions, count, settings.seed)
    medians = bootstrap.medians_over_layers(fits, stack, draws, settings.alpha)
    dropped = [
        sum(count["dropped_rows"].get(layer_name(layer), 0) for count in counts)
        for layer in stack.layers
    ]
    tests = diagnostics.table(sums, model).drop(columns="layer")
    mixers = record["model"].get("mixers")
    return FittedRegression(
        settings=settings,
        layers=stack.layers,
        fits=fits,
        coefficients=coefficients,
        goodness=results.fits_table(
            fits, stack.layers, dropped, tests, mixers, adjust=settings.adjust
        ),
        influence=results.influence_table(fits, stack),
        medians=medians,
        residual_sums=sums,
        kept_terms=kept,
        bins=stack.bins,
    )


def _check_errors(settings: RegressionSettings, clusters: int) -> None:
    """Refuse errors that the number of clusters rules out."""
    if settings.cluster == "group" and clusters < FEWEST_DOCUMENTS:
        raise UserError(
            f"found {counted(clusters, 'group')} of documents with rows, expected at least "
            f"{FEWEST_DOCUMENTS} for errors clustered by group; cluster by document, or give "
            "documents of more groups"
        )


def settings_of_few_documents(settings: RegressionSettings, documents: int) -> RegressionSettings:
    """Return the settings with which documents are fitted that are too few to cluster by.

    Clustered errors become HAC errors within sequences. The half-panel jackknife has no HAC errors,
    so it is switched off. The mean of a single document is the intercept.
    """
    return settings.changed(
        fixed_effects=settings.fixed_effects if documents > 1 else "none",
        bias_correction="none",
        covariance="hac" if CATALOGUE[settings.covariance].clustered else settings.covariance,
        cluster="document",
    )


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
