"""The controls of a regression: its coefficients if nothing interesting is going on.

There are two. The permutation of tokens within documents shows what remains if their order means
nothing (`permutation`). Random weights show what the same architecture gives before any training.
That depends on the scale at which they are drawn, so several are, and each is compared with the
trained model by itself.

An untrained model is never corrected for bias: its running mean becomes smoother along a document,
so that the halves of a document differ, and a half-panel jackknife extrapolates the difference. It
is compared with the trained model on the same documents, without correction too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.quantities.outcomes import in_batches
from attnlag.quantities.scales import multiple_of_own
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation.least_squares import Solution, Unfitted, solve
from attnlag.regression.inference import permutation
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.labels import spans
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments import merging
from attnlag.regression.moments.in_memory import moments_of_numbers
from attnlag.regression.moments.moments import KeptTerms, Moments, effective_number
from attnlag.regression.settings import (
    DesignSettings,
    LagsOfPartsSettings,
    RegressionSettings,
    TrainingSettings,
)
from attnlag.regression.terms import is_lag_or_lead, is_lead
from attnlag.regression.units import key_columns, layer_units
from attnlag.storage import tables

# How weights were drawn at one scale, and the moments of each layer with these.
UntrainedMoments = tuple[Mapping[str, Any], list[Moments]]

# Columns of the comparison with the trained model.
COMPARED = [
    *("scale", "initializer_range", "origin", "above_own"),
    *("quantity", "layers", "before", "trained"),
    *("before_low", "before_high", "difference", "std_error", "df", "conf_low", "conf_high"),
    "level",
    *("documents", "left_out"),
]


def fit_alone(
    layers: Sequence[Moments],
    documents: Sequence[str],
    settings: RegressionSettings | LagsOfPartsSettings | TrainingSettings,
) -> list[Solution | Unfitted]:
    """Fit some documents in every layer or part, without any correction and without errors."""
    fixed_effects = settings.fixed_effects == "document"
    own = merging.moments_of_documents(
        layers, documents, fixed_effects=fixed_effects, half_panel=False
    )
    return [solve(moments) for moments in own]


def coefficients_by_unit(solutions: Sequence[Solution | Unfitted]) -> pd.DataFrame:
    """Return ``estimate`` by ``layer``, ``part`` and ``term``; NaN where a layer has no fit."""
    estimates = [solution.estimate for solution in solutions]
    table = pd.DataFrame(key_columns([solution.moments for solution in solutions]))
    return table.assign(estimate=np.concatenate(estimates))


@dataclass(frozen=True)
class UncorrectedFits:
    """A regression of some documents in every layer, without any correction."""

    # By layer and term; NaN in layers that cannot be fitted.
    coefficients: pd.Series
    # By layer: the sum of the coefficients of lags, and R².
    sums: pd.Series
    r_squared: pd.Series
    clusters: list[str]
    # The rows of each cluster in the layer with most: (clusters,).
    rows: np.ndarray
    # The coefficients without each cluster: (clusters, coefficients).
    without_each: np.ndarray


def uncorrected_fits(
    layers: Sequence[Moments], documents: Sequence[str], settings: RegressionSettings
) -> UncorrectedFits:
    """Fit some documents without any correction, and again without each cluster of them."""
    solutions = fit_alone(layers, documents, settings)
    table = coefficients_by_unit(solutions)
    coefficients = table.set_index(["layer", "term"])["estimate"]
    summed = coefficients[_summed(coefficients)].groupby("layer")
    r_squared = {}
    for each in solutions:
        r_squared[each.moments.layer] = np.nan
        if isinstance(each, Solution):
            r_squared[each.moments.layer] = 1 - each.ssr / each.tss
    clusters = solutions[0].moments.clusters
    without = [each.weighted([1 - np.eye(len(clusters))]) for each in solutions]
    return UncorrectedFits(
        coefficients=coefficients,
        sums=summed.sum(min_count=1),
        r_squared=pd.Series(r_squared),
        clusters=clusters,
        rows=np.max([each.moments.products[0, :, 0, 0] for each in solutions], axis=0),
        without_each=np.concatenate(without, axis=1),
    )


def _summed(coefficients: pd.Series) -> np.ndarray:
    """Return which coefficients are of lags, leads aside."""
    terms = coefficients.index.get_level_values("term")
    return np.array([is_lag_or_lead(term) and not is_lead(term) for term in terms], dtype=bool)


def controls_table(
    coefficients: pd.DataFrame,
    goodness: pd.DataFrame,
    trained: Sequence[Moments],
    kept: KeptTerms,
    settings: RegressionSettings,
    permutations: Sequence[PermutedMoments] = (),
    untrained: Sequence[UntrainedMoments] = (),
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return a row per layer, lag and lead with its coefficients in the controls.

    With an untrained model comes the table of its comparison with the trained one.
    """
    keys = ["layer", "term"]
    compared = None
    controls = coefficients.loc[coefficients["term"].map(is_lag_or_lead), [*keys, "estimate"]]
    controls = controls.merge(goodness[["layer", "r_squared"]], on="layer", how="left")
    if permutations:
        by_layer = permutation.permutations_by_layer(permutations, kept)
        tests = permutation.order_test(by_layer, settings)
        controls = controls.merge(tests, on=keys, how="left")
        controls["permuted_within"] = permutations[0].within
    if untrained:
        random, compared = fit_untrained(untrained, settings, trained)
        controls = controls.merge(random, on=keys, how="left")
    return controls, compared


def untrained_moments(
    design: DesignSettings,
    files: Mapping[str, Any],
    norms: Sequence[Path],
    streams: Sequence[Path] = (),
) -> list[UntrainedMoments]:
    """Return what is regressed before training, from norms at each scale of the initial weights.

    All scales have the same documents, a few of all shards. Relative norms need the streams at the
    same tokens, and covariates the ``files`` of `Formula.read`.
    """
    formula = Formula.read(design, files, tables.document_names(norms[0]))
    drawn = []
    for path, stream in zip(norms, streams or repeat(None), strict=False):
        outcome = formula.outcome
        names = outcome.columns(pq.read_schema(path).names)
        units = layer_units(names)
        progress = "design of random weights"
        batches = in_batches(outcome, path, stream, tables.ROWS_AT_ONCE, progress)
        record = tables.read_provenance(path)
        moments = moments_of_numbers(batches, formula, units, precision=record.precision)
        drawn.append((record["draw"], moments))
    return drawn


def fit_untrained(
    untrained: Sequence[UntrainedMoments], settings: RegressionSettings, trained: Sequence[Moments]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit the same regression to an untrained model, and to the trained one on the same documents.

    The first table has the coefficients of both by layer and term, NaN in layers that cannot be
    fitted, with their sums over the lags and R² by layer. The half-panel correction applies to
    neither. The second compares them by scale and quantity (`_compared`).
    """
    documents = untrained[0][1][0].clusters
    names = [f"untrained_{draw['scale'].replace('-', '_')}" for draw, _ in untrained]
    fits = {}
    for name, (_, layers_before) in zip(names, untrained, strict=True):
        fits[name] = uncorrected_fits(layers_before, documents, settings)
    after = uncorrected_fits(trained, documents, settings)
    layers = shared_layers([*fits.values()], after)
    own = own_range([draw for draw, _ in untrained])
    compared = []
    for name, (draw, _) in zip(names, untrained, strict=True):
        compared.append(_compared(draw, own, fits[name], after, layers, settings.alpha))
    fits["trained"] = after
    index = after.coefficients.index
    table = pd.DataFrame({name: fit.coefficients.reindex(index) for name, fit in fits.items()})
    numbers: dict[str, Any] = {"untrained_documents": len(documents)}
    for name, fit in fits.items():
        numbers |= {f"{name}_sum": fit.sums, f"{name}_r_squared": fit.r_squared}
    table = table.join(pd.DataFrame(numbers), on="layer").reset_index()
    return table, pd.concat(compared, ignore_index=True)


def own_range(draws: Sequence[Mapping[str, Any]]) -> float:
    """Return the standard deviation of a model's own initial weights; NaN if no draw tells it."""
    for draw in draws:
        if draw["scale"] != "default" and draw["initializer_range"] is not None:
            return draw["initializer_range"] / multiple_of_own(draw["scale"])
    return np.nan


def is_above(draw: Mapping[str, Any], own: float) -> bool:
    """Return whether the weights of a draw are larger than the model's own initial weights."""
    initial = draw["initializer_range"]
    if draw["scale"] == "by-depth" or initial is None:
        return False
    return initial > own and not np.isclose(initial, own)


def shared_layers(before: Sequence[UncorrectedFits], after: UncorrectedFits) -> list[int]:
    """Return the layers that are fitted after training and at every scale before it.

    A scale at which no layer can be fitted does not count: its rows are empty.
    """
    shared = _fitted_layers(after)
    for fits in before:
        fitted = _fitted_layers(fits)
        if fitted:
            shared &= fitted
    return sorted(shared)


def _fitted_layers(fits: UncorrectedFits) -> set[int]:
    """Return the layers whose lags and leads are all estimated."""
    terms = fits.coefficients.index.get_level_values("term")
    lags = fits.coefficients[[is_lag_or_lead(str(term)) for term in terms]]
    known = lags.notna().groupby("layer").all()
    return set(known.index[known])


def _compared(
    draw: Mapping[str, Any],
    own: float,
    before: UncorrectedFits,
    after: UncorrectedFits,
    layers: Sequence[int],
    alpha: float,
) -> pd.DataFrame:
    """Return the comparison of one scale with the trained model, a row per quantity.

    Medians are over ``layers``, the same in every row of the table, and so are the means that have
    intervals: of the untrained model, and of the difference between both models. The intervals come
    from leaving out each document, in both models at once (`jackknife`).
    """
    index = before.coefficients.index
    terms = index.get_level_values("term")
    quantities = {str(term): terms == term for term in dict.fromkeys(terms) if is_lag_or_lead(term)}
    if len(quantities) > 1:
        quantities["lags_summed"] = _summed(before.coefficients)
    # Without any layer at this scale there is nothing to compare.
    fitted = [layer for layer in layers if layer in _fitted_layers(before)]
    in_layers = index.get_level_values("layer").isin(fitted)
    after_alike = after.coefficients.reindex(index)
    facts = {
        **{key: draw[key] for key in ("scale", "initializer_range", "origin")},
        "above_own": is_above(draw, own),
        "layers": spans(fitted, "layer").partition(" ")[2],
        "level": level_of(alpha),
        "documents": len(before.clusters),
        "left_out": draw.get("left_out", ""),
    }
    compared = []
    for quantity, is_quantity in quantities.items():
        used = is_quantity & in_layers
        row = {**facts, "quantity": quantity}
        for name, coefficients in (("before", before.coefficients), ("trained", after_alike)):
            row[name] = coefficients[used].groupby("layer").sum(min_count=1).median()
        if fitted:
            mean = before.coefficients[used].sum() / len(fitted)
            without = before.without_each[:, used].sum(axis=1) / len(fitted)
            ends = jackknife(mean, without, before.rows, alpha)
            row |= {"before_low": ends.get("conf_low"), "before_high": ends.get("conf_high")}
        if fitted and before.clusters == after.clusters:
            difference = (before.coefficients - after_alike)[used].sum() / len(fitted)
            differences = before.without_each - after.without_each
            without = differences[:, used].sum(axis=1) / len(fitted)
            row["difference"] = difference
            row |= jackknife(difference, without, before.rows, alpha)
        compared.append(row)
    row = {**facts, "quantity": "r_squared"}
    if fitted:
        row["before"] = before.r_squared[fitted].median()
        row["trained"] = after.r_squared[fitted].median()
    compared.append(row)
    return pd.DataFrame(compared).reindex(columns=COMPARED)


def jackknife(
    value: float, without_each: np.ndarray, rows: np.ndarray, alpha: float
) -> dict[str, float]:
    """Return the error of a value and its interval, by leaving out each document.

    The squared error is (G - 1)/G Σ (v₍g₎ - v)² over G documents or groups (the jackknife; Efron
    and Stein 1981).

    Parameters
    ----------
    value : float
        v.
    without_each : (clusters,) array
        v₍g₎: the values without each cluster.
    rows : (clusters,) array
        The rows of each cluster. Their effective number less one is the degrees of freedom.
    alpha : float
        One minus the level of the interval.

    Returns
    -------
    dict
        ``std_error``, ``df``, ``conf_low`` and ``conf_high``; empty with fewer clusters than
        ``MIN_DOCUMENTS``.
    """
    clusters = len(without_each)
    if clusters < MIN_DOCUMENTS:
        return {}
    error = np.sqrt((clusters - 1) / clusters * ((without_each - value) ** 2).sum())
    df = effective_number(rows) - 1
    low, high = Estimates(value, error, df).interval(alpha)
    return {"std_error": error, "df": df, "conf_low": low, "conf_high": high}
