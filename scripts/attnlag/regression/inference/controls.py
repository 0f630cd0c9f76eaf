"""The controls of a regression: its coefficients if nothing interesting is going on.

There are two. The permutation of tokens within documents shows what remains if their order means
nothing (`permutation`). Random weights show what the same architecture gives before any training.
That depends on the scale at which they are drawn, so several are, and only what holds at all of
them is a statement about training.

An untrained model is never corrected for bias: its running mean becomes smoother along a document,
so that the halves of a document differ, and a half-panel jackknife extrapolates the difference. It
is compared with the trained model on the same documents, without correction too.
"""

from collections.abc import Mapping, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import special

from attnlag.quantities.outcomes import in_batches
from attnlag.regression.design.design import Formula
from attnlag.regression.estimation import crossproducts, merging
from attnlag.regression.estimation.least_squares import Solution, solve
from attnlag.regression.estimation.moments import KeptTerms, Moments
from attnlag.regression.inference import permutation
from attnlag.regression.inference.permutation import PermutedMoments
from attnlag.regression.limits import FEWEST_DOCUMENTS
from attnlag.regression.settings import (
    DesignSettings,
    HeadsSettings,
    RegressionSettings,
    TrainingSettings,
)
from attnlag.regression.terms import is_lag_or_lead, is_lead
from attnlag.storage import tables

# How weights were drawn at one scale, and the moments of each layer with these.
Untrained = tuple[Mapping[str, Any], list[Moments]]

# Columns of the comparison with the trained model.
COMPARED = [
    *("scale", "initializer_range", "origin", "quantity", "before", "trained"),
    *("difference", "std_error", "df", "conf_low", "conf_high", "documents", "left_out"),
]


def fitted_alone(
    layers: Sequence[Moments],
    documents: Sequence[str],
    settings: RegressionSettings | HeadsSettings | TrainingSettings,
) -> tuple[pd.Series, list[Solution]]:
    """Fit some documents without any correction and without errors; return the coefficients first.

    They are by ``layer`` and ``term``, NaN in layers that cannot be fitted.
    """
    effects = settings.fixed_effects == "document"
    own = merging.of_documents(layers, documents, effects=effects, corrected=False)
    solutions = [solve(moments) for moments in own]
    keys = [solution.moments.layer for solution in solutions], solutions[0].moments.names
    index = pd.MultiIndex.from_product(keys, names=["layer", "term"])
    estimates = np.concatenate([solution.estimate for solution in solutions])
    return pd.Series(estimates, index, name="estimate"), solutions


class _Fitted:
    """A regression of some documents without any correction."""

    def __init__(
        self, layers: Sequence[Moments], documents: Sequence[str], settings: RegressionSettings
    ) -> None:
        # By layer and term.
        self.coefficients, solutions = fitted_alone(layers, documents, settings)
        # By layer: the sum of the coefficients of lags, and R².
        summed = self.coefficients[_summed(self.coefficients)].groupby("layer")
        self.sums = summed.sum(min_count=1)
        r_squared = {each.moments.layer: 1 - each.ssr / each.tss for each in solutions}
        self.r_squared = pd.Series(r_squared)
        self.clusters = solutions[0].moments.clusters
        # The coefficients without each cluster, (clusters, coefficients).
        without = [each.weighted([1 - np.eye(len(self.clusters))]) for each in solutions]
        self.without_each = np.concatenate(without, axis=1)


def _summed(coefficients: pd.Series) -> np.ndarray:
    """Return which coefficients are of lags, leads aside."""
    terms = coefficients.index.get_level_values("term")
    return np.array([is_lag_or_lead(term) and not is_lead(term) for term in terms], dtype=bool)


def table(
    coefficients: pd.DataFrame,
    goodness: pd.DataFrame,
    trained: Sequence[Moments],
    kept: KeptTerms,
    settings: RegressionSettings,
    orders: Sequence[PermutedMoments] = (),
    untrained: Sequence[Untrained] = (),
) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return a row per layer, lag and lead with its coefficients in the controls.

    With an untrained model comes the table of its comparison with the trained one.
    """
    keys, compared = ["layer", "term"], None
    controls = coefficients.loc[coefficients["term"].map(is_lag_or_lead), [*keys, "estimate"]]
    controls = controls.merge(goodness[["layer", "r_squared"]], on="layer", how="left")
    if orders:
        by_layer = permutation.orders_by_layer(orders, kept)
        tests = permutation.order_test(by_layer, settings)
        controls = controls.merge(tests, on=keys, how="left")
        controls["permuted_within"] = orders[0].within
    if untrained:
        random, compared = random_weights(untrained, settings, trained)
        controls = controls.merge(random, on=keys, how="left")
    return controls, compared


def untrained(
    design: DesignSettings,
    files: Mapping[str, Any],
    norms: Sequence[Path],
    streams: Sequence[Path] = (),
) -> list[Untrained]:
    """Return what is regressed before training, from norms at each scale of the initial weights.

    All scales have the same documents, a few of all shards. Relative norms need the streams at the
    same tokens, and covariates the ``files`` of `Formula.read`.
    """
    formula, drawn = Formula.read(design, files, tables.document_names(norms[0])), []
    for path, stream in zip(norms, streams or repeat(None), strict=False):
        outcome, progress = formula.outcome, "design of random weights"
        layers = list(outcome.columns(pq.read_schema(path).names))
        batches = in_batches(outcome, path, stream, tables.ROWS_AT_ONCE, progress)
        moments = crossproducts.of_batches(batches, formula, layers)
        drawn.append((tables.read_provenance(path)["draw"], moments))
    return drawn


def random_weights(
    untrained: Sequence[Untrained], settings: RegressionSettings, trained: Sequence[Moments]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Fit the same regression to an untrained model, and to the trained one on the same documents.

    The first table has the coefficients of both by layer and term, NaN in layers that cannot be
    fitted, with their sums over the lags and R² by layer. The half-panel correction applies to
    neither. The second compares them by scale and quantity (`_compared`).
    """
    documents = untrained[0][1][0].clusters
    # The first scale has the shortest name.
    names = [f"random_weights_{draw['scale'].replace('-', '_')}" for draw, _ in untrained[1:]]
    names = ["random_weights", *names, "trained"]
    layers_of = zip(names, [*(layers for _, layers in untrained), trained], strict=True)
    fits = {name: _Fitted(layers, documents, settings) for name, layers in layers_of}
    compared = [
        _compared(draw, fits[name], fits["trained"], settings.alpha)
        for name, (draw, _) in zip(names, untrained, strict=False)
    ]
    index = fits["random_weights"].coefficients.index
    table = pd.DataFrame({name: fit.coefficients.reindex(index) for name, fit in fits.items()})
    numbers: dict[str, Any] = {"random_weights_documents": len(documents)}
    for name, fit in fits.items():
        numbers |= {f"{name}_sum": fit.sums, f"{name}_r_squared": fit.r_squared}
    table = table.join(pd.DataFrame(numbers), on="layer").reset_index()
    return table, pd.concat(compared, ignore_index=True)


def _compared(
    draw: Mapping[str, Any], before: _Fitted, after: _Fitted, alpha: float
) -> pd.DataFrame:
    """Return the comparison of one scale with the trained model, a row per quantity.

    The interval of the difference comes from leaving out each document in both models (the
    jackknife; Efron and Stein 1981), with one degree of freedom less than documents, or than groups
    where these are the clusters.
    """
    terms = before.coefficients.index.get_level_values("term")
    rows = {str(term): terms == term for term in dict.fromkeys(terms) if is_lag_or_lead(term)}
    if len(rows) > 1:
        rows["lags_summed"] = _summed(before.coefficients)
    after_alike = after.coefficients.reindex(before.coefficients.index)
    known = (before.coefficients.notna() & after_alike.notna()).to_numpy()
    beside = {"documents": len(before.clusters), "left_out": draw.get("left_out", "")}
    scale = {key: draw[key] for key in ("scale", "initializer_range", "origin")}
    compared = []
    for quantity, used in rows.items():
        used = used & known
        layers = max(len(before.coefficients.index[used].unique("layer")), 1)
        row = {**scale, "quantity": quantity, **beside}
        for name, coefficients in (("before", before.coefficients), ("trained", after_alike)):
            row[name] = coefficients[used].groupby("layer").sum(min_count=1).median()
        if used.any() and before.clusters == after.clusters:
            without = (before.without_each - after.without_each)[:, used].sum(axis=1) / layers
            apart = (before.coefficients - after_alike)[used].sum() / layers
            row |= {"difference": apart, **_jackknife(apart, without, alpha)}
        compared.append(row)
    r_squared = {"before": before.r_squared, "trained": after.r_squared}
    medians_of_r_squared = pd.DataFrame(r_squared).dropna().median()
    compared.append({**scale, "quantity": "r_squared", **medians_of_r_squared, **beside})
    return pd.DataFrame(compared).reindex(columns=COMPARED)


def _jackknife(value: float, without_each: np.ndarray, alpha: float) -> dict[str, float]:
    """Return the error of a value and its interval, from the values without each document."""
    documents = len(without_each)
    if documents < FEWEST_DOCUMENTS:
        return {}
    error = np.sqrt((documents - 1) * without_each.var())
    reach = special.stdtrit(documents - 1, 1 - alpha / 2) * error
    ends = {"conf_low": value - reach, "conf_high": value + reach}
    return {"std_error": error, "df": documents - 1, **ends}
