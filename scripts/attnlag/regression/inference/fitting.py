"""One regression in every layer, from the files of all shards to the tables of results.

The estimates come from the cross-products. A second pass over the design gives the statistics that
need residuals. Each layer is solved by `least_squares.solve`, and `layer_fit.fit_layer` gives its
errors; `cr2` has the formula of clustered ones.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from attnlag.errors import UserError, counted
from attnlag.quantities.columns import layer_name
from attnlag.regression.covariances import CATALOGUE
from attnlag.regression.design.counts import read_counts, usable_sequences
from attnlag.regression.estimation.least_squares import Solution, Unfitted, solve
from attnlag.regression.inference import (
    bootstrap,
    controls,
    diagnostics,
    fallbacks,
    groups,
    layer_fit,
    results,
)
from attnlag.regression.inference.controls import UntrainedMoments
from attnlag.regression.inference.layer_fit import LayerFit, fit_layer
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments import merging
from attnlag.regression.moments.moments import KeptTerms, Moments, PreparedMoments, Stored
from attnlag.regression.residuals import residuals
from attnlag.regression.residuals.omitted_lags import omitted_lags
from attnlag.regression.residuals.residuals import FittedLine, ResidualSums
from attnlag.regression.settings import RegressionSettings
from attnlag.storage import tables

# What the numbers come from, besides this project.
PACKAGES = ("numpy", "scipy", "statsmodels")


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
    crossproducts: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
    *,
    permutations: Sequence[PermutedMoments] = (),
    untrained: Sequence[UntrainedMoments] = (),
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
    data = _read(crossproducts, designs, group_of, settings)
    if CATALOGUE[data.settings.covariance].needs == "meat":
        # These errors come from the residuals of all layers, so a layer is solved before and after.
        lines = [residuals.fitted_line(_solved(data, moments)) for moments in data.stored]
        sums = _sum_residuals(data, designs, lines, threads)
        _, fits = _fit_layers(data, residuals.robust_meat(sums))
    else:
        lines, fits = _fit_layers(data)
        sums = _sum_residuals(data, designs, lines, threads)
    drawn = np.stack([fit.drawn for fit in fits], axis=1)
    tests = diagnostics.residual_tests(sums, lines).drop(columns="layer")
    tests = tests.join(diagnostics.omitted_terms_table(sums, data.settings))
    coefficients = layer_fit.coefficients_table(fits, data.settings)
    goodness = results.fits_table(fits, data.dropped, tests, data.mixers, data.settings.adjust)
    control_table, untrained_scales = controls.controls_table(
        coefficients,
        goodness,
        data.stored,
        data.kept,
        data.settings,
        permutations=permutations,
        untrained=untrained,
    )
    return FittedRegression(
        settings=data.settings,
        layers=data.stored.layers,
        coefficients=coefficients,
        goodness=goodness,
        medians=bootstrap.medians_over_layers(fits, drawn, data.settings.alpha),
        residual_sums=sums,
        influence=results.influence_table(fits),
        merged=merging.merged_terms(data.kept),
        groups=groups.coefficients_by_group(data.stored, group_of, data.settings),
        controls=control_table,
        untrained_scales=untrained_scales,
    )


def records_of(
    fitted: FittedRegression, upstream: tables.Record
) -> tuple[tables.Record, tables.Record]:
    """Return the provenance of the tables of all documents, and that of the table of groups.

    They have the settings that were used: those of groups are clustered by document.
    """
    used = {**fitted.settings.model_dump(), "hac_lags": fitted.residual_sums.hac_lags}
    record = tables.provenance(upstream, "regression", used, *PACKAGES, merged=fitted.merged)
    used_by_groups = fallbacks.by_document(fitted.settings)
    return record, tables.provenance(upstream, "groups", used_by_groups, *PACKAGES)


@dataclass(frozen=True)
class _Data:
    """What a regression is fitted to."""

    # Those that the documents allow.
    settings: RegressionSettings
    # The moments of each layer, read on use.
    stored: Stored
    # The terms of the regression, each with those of the design that it is the sum of.
    kept: KeptTerms
    # The group of each document.
    group_of: Mapping[str, str]
    # documents, sequences: numbers of those that give rows.
    documents: int
    sequences: int
    # (layers,) int array: numbers of rows without a finite logarithm.
    dropped: np.ndarray
    # The mixer of each layer that has no attention.
    mixers: Mapping[str, str]

    def moments_to_solve(
        self, moments: Moments, group_of: Mapping[str, str] | None = None
    ) -> PreparedMoments:
        """Return the moments of a layer that its regression is solved from, perhaps of groups."""
        prepared = moments.with_terms(self.kept).prepared(
            fixed_effects=self.settings.fixed_effects == "document",
            half_panel=self.settings.bias_correction == "half-panel",
        )
        return prepared if group_of is None else prepared.by_group(group_of)


def _read(
    crossproducts: Sequence[Path],
    designs: Sequence[Path],
    group_of: Mapping[str, str],
    settings: RegressionSettings,
) -> _Data:
    """Read what stands in the files beside the moments, and choose the terms of the regression."""
    stored = Stored(crossproducts, keep=True)
    counts = [read_counts(path) for path in designs]
    sequences = usable_sequences(counts, stored.record.names)
    dropped = np.zeros(len(stored.layers), dtype=int)
    for count in counts:
        dropped += [count["dropped_rows"].get(layer_name(layer), 0) for layer in stored.layers]
    documents = max(moments.documents for moments in stored)
    return _Data(
        settings=fallbacks.possible_with(settings, documents),
        stored=stored,
        kept=merging.kept_terms(stored.terms, stored),
        group_of=group_of,
        documents=documents,
        sequences=sequences,
        dropped=dropped,
        mixers=stored.record["model"].get("mixers") or {},
    )


def _fit_layers(
    data: _Data, meat: np.ndarray | None = None
) -> tuple[list[FittedLine], list[LayerFit]]:
    """Solve each layer, and find the errors of its coefficients, if need be from residuals.

    ``meat``, (layers, K, K), is the middle of the covariance that residuals give. The moments of
    one layer are in memory at a time.
    """
    draws = _draws(data)
    lines = []
    fits = []
    for place, moments in enumerate(data.stored):
        solution = _solved(data, moments)
        lines.append(residuals.fitted_line(solution))
        fits.append(
            fit_layer(
                solution,
                data.settings.covariance,
                _folds(data, moments),
                draws=draws,
                meat=None if meat is None else meat[place],
            )
        )
    return lines, fits


def _solved(data: _Data, moments: Moments) -> Solution | Unfitted:
    """Solve the regression of a layer."""
    clustered_by = data.group_of if data.settings.cluster == "group" else None
    return solve(data.moments_to_solve(moments, clustered_by))


def _sum_residuals(
    data: _Data, designs: Sequence[Path], lines: Sequence[FittedLine], threads: int
) -> ResidualSums:
    """Sum over the residuals of all layers, in a second pass over the designs."""
    hac_lags = data.settings.hac_lags
    if hac_lags is None:
        longest = max(line.rows for line in lines)
        hac_lags = residuals.default_hac_lags(longest / data.sequences)
    omitted = omitted_lags(lines[0].terms, data.documents)
    return residuals.sums_of_shards(designs, lines, hac_lags, threads, data.kept, omitted)


def _folds(data: _Data, moments: Moments) -> int | PreparedMoments:
    """Return the folds of the cross-validated R² of a layer: their number, or their moments."""
    if data.settings.folds == "groups":
        return data.moments_to_solve(moments, data.group_of)
    return data.settings.folds


def _draws(data: _Data) -> bootstrap.Draws:
    """Return the draws of clusters, none with too few documents."""
    clusters = data.stored.documents
    if data.settings.cluster == "group":
        clusters = _number_of_groups(data.stored, data.group_of)
    repetitions = data.settings.bootstrap if data.documents >= MIN_DOCUMENTS else 0
    return bootstrap.Draws(clusters, repetitions, data.settings.seed)


def _number_of_groups(layers: Sequence[Moments], group_of: Mapping[str, str]) -> int:
    """Return the number of groups, with rows or not; raise UserError if too few have rows."""
    found = 0
    for moments in layers:
        with_rows = moments.products[..., 0, 0].sum(axis=0) > 0.5
        names = np.array(moments.clusters)[with_rows]
        found = max(found, len({group_of[name] for name in names}))
    if found < MIN_DOCUMENTS:
        raise UserError(
            f"found {counted(found, 'group')} of documents with rows, expected at least "
            f"{MIN_DOCUMENTS} for errors clustered by group; cluster by document, or give "
            "documents of more groups"
        )
    return len(set(group_of.values()))
