"""One regression in every layer, from the files of all shards to the tables of results.

The estimates come from the cross-products. A second pass over the design gives the statistics that
need residuals.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.errors import UserError, counted
from attnlag.quantities.columns import layer_name
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.design.design import read_counts, usable_sequences
from attnlag.regression.estimation import merging, residuals
from attnlag.regression.estimation.crossproducts import Stored
from attnlag.regression.estimation.least_squares import Solution, Unfitted, solve
from attnlag.regression.estimation.moments import Moments
from attnlag.regression.estimation.omitted_lags import omitted_lags
from attnlag.regression.estimation.regress import LayerFit, fit_layer
from attnlag.regression.estimation.residuals import ResidualSums
from attnlag.regression.inference import bootstrap, controls, diagnostics, groups, results
from attnlag.regression.inference.controls import Untrained
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import RegressionSettings


@dataclass
class FittedRegression:
    """A regression of all documents and of each group of them, beside its controls."""

    settings: RegressionSettings  # those that the documents allow
    layers: list[int]
    coefficients: pd.DataFrame
    goodness: pd.DataFrame
    medians: pd.DataFrame  # of each coefficient over the layers
    residual_sums: ResidualSums
    # influence, merged: empty in a fit that is read from tables, where nothing needs them.
    influence: pd.DataFrame = field(default_factory=pd.DataFrame)
    # The columns of the design that each term of merged classes is the sum of.
    merged: dict[str, list[str]] = field(default_factory=dict)
    groups: pd.DataFrame = field(default_factory=pd.DataFrame)
    controls: pd.DataFrame = field(default_factory=pd.DataFrame)  # a row per layer and lag or lead
    untrained_scales: pd.DataFrame | None = None  # a row per scale of the weights and quantity


def fit_regression(
    products: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
    *,
    permutations: Sequence[PermutedMoments] = (),
    untrained: Sequence[Untrained] = (),
    threads: int = 1,
) -> FittedRegression:
    """Fit a regression in every layer, and its controls, for a run or a notebook.

    Cross-products, designs and ``permutations`` are those of all shards, in order, and
    ``group_of`` has the documents in the order of the corpus. Without permutations, tokens are not
    permuted; without what `controls.untrained_moments` gives, there is no untrained control. Each
    thread reads one shard at a time, and the results do not depend on their number.

    Raise UserError if no sequence is long enough for a row, or if there are too few documents for
    the chosen errors or correction.
    """
    stored = Stored(products, keep=True)
    counts = [read_counts(path) for path in designs]
    sequences = usable_sequences(counts, stored.record.names)
    documents = max(moments.documents for moments in stored)
    settings = settings.possible_with(documents)
    clustered_by = None
    clusters = stored.documents
    if settings.cluster == "group":
        clustered_by = group_of
        clusters = _number_of_groups(stored, group_of)
    kept = merging.kept_terms(stored.terms, stored)
    prepared = partial(
        Moments.prepared,
        kept=kept,
        fixed_effects=settings.fixed_effects == "document",
        half_panel=settings.bias_correction == "half-panel",
    )

    repetitions = settings.bootstrap if documents >= MIN_DOCUMENTS else 0
    draws = bootstrap.Draws(clusters, repetitions, settings.seed)

    def fit(solution: Solution | Unfitted, moments: Moments, meat: np.ndarray | None) -> LayerFit:
        folds: int | Moments
        if settings.folds == "groups":
            folds = prepared(moments, group_of=group_of)
        else:
            folds = settings.folds
        return fit_layer(solution, settings.covariance, folds, draws=draws, meat=meat)

    # The moments of one layer are in memory at a time. Errors from residuals, which the lines of
    # all layers give in one pass, have to wait: then a layer is read and solved again.
    from_residuals = CATALOGUE[settings.covariance].needs == "meat"
    lines = []
    fits = []
    for moments in stored:
        solution = solve(prepared(moments, group_of=clustered_by))
        lines.append(residuals.fitted_line(solution))
        if not from_residuals:
            fits.append(fit(solution, moments, meat=None))
    hac_lags = settings.hac_lags
    if hac_lags is None:
        hac_lags = residuals.default_hac_lags(max(line.rows for line in lines) / sequences)
    omitted = omitted_lags(lines[0].terms, documents)
    sums = residuals.sums_of_shards(designs, lines, hac_lags, threads, kept, omitted)
    if from_residuals:
        for moments, meat in zip(stored, residuals.robust_meat(sums), strict=True):
            fits.append(fit(solve(prepared(moments)), moments, meat))

    drawn = np.stack([fit.drawn for fit in fits], axis=1)
    dropped = np.zeros(len(stored.layers), dtype=int)
    for count in counts:
        dropped += [count["dropped_rows"].get(layer_name(layer), 0) for layer in stored.layers]
    tests = diagnostics.residual_tests(sums, lines).drop(columns="layer")
    tests = tests.join(diagnostics.omitted_terms_table(sums, settings))
    mixers = stored.record["model"].get("mixers") or {}
    coefficients = results.coefficients_table(fits, settings)
    goodness = results.fits_table(fits, dropped, tests, mixers, settings.adjust)
    control_table, untrained_scales = controls.controls_table(
        coefficients,
        goodness,
        stored,
        kept,
        settings,
        permutations=permutations,
        untrained=untrained,
    )
    return FittedRegression(
        settings=settings,
        layers=stored.layers,
        coefficients=coefficients,
        goodness=goodness,
        medians=bootstrap.medians_over_layers(fits, drawn, settings.alpha),
        residual_sums=sums,
        influence=results.influence_table(fits),
        merged=merging.merged_terms(kept),
        groups=groups.coefficients_by_group(stored, group_of, settings),
        controls=control_table,
        untrained_scales=untrained_scales,
    )


def _number_of_groups(layers: Sequence[Moments], group_of: Mapping[str, str]) -> int:
    """Return the number of groups, with rows or not; raise UserError if too few have rows."""
    found = max(moments.whole().by_group(group_of).count for moments in layers)
    if found < MIN_DOCUMENTS:
        raise UserError(
            f"found {counted(found, 'group')} of documents with rows, expected at least "
            f"{MIN_DOCUMENTS} for errors clustered by group; cluster by document, or give "
            "documents of more groups"
        )
    return len(set(group_of.values()))
