"""The regression of one layer, its estimates with their errors, and the table of all layers.

`fit_layer` gives the estimates of `least_squares.solve` their errors, by default clustered ones
from `cr2.cr2`; `coefficients_table` makes the columns of coefficients.csv of them. The other
estimators of a covariance (`covariances`) see what `evidence` has.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from attnlag.quantities.estimates import Estimates, level_of
from attnlag.regression import reasons
from attnlag.regression.covariances import CATALOGUE, Covariance
from attnlag.regression.estimation.cr2 import Cr2, cr2
from attnlag.regression.estimation.jackknife import (
    LeftOut,
    leave_out_each,
    squared_error_of_folds,
)
from attnlag.regression.estimation.least_squares import (
    Solution,
    Unfitted,
    score_blocks,
)
from attnlag.regression.estimation.wald import NO_TEST, Wald, f_test
from attnlag.regression.inference.equal_halves import equal_halves
from attnlag.regression.inference.evidence import evidence_of
from attnlag.regression.inference.goodness import goodness
from attnlag.regression.inference.multiple_tests import adjusted_p_values, equivalence_test
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import PreparedMoments
from attnlag.regression.reasons import Reason
from attnlag.regression.settings import Errors
from attnlag.regression.units import key_columns

# Name of the hypothesis that all slopes are zero.
SLOPES = "slopes"

# Columns of the table of coefficients.
COLUMNS = ["subset", "layer", "term", "estimate", "std_error", "statistic", "df", "p_value"]
COLUMNS += ["p_adjusted", "conf_low", "conf_high", "level"]
COLUMNS += ["equivalence", "vcov_type", "uncorrected"]


@dataclass(frozen=True)
class CoefficientErrors:
    """The errors of K coefficients."""

    # (K, K) array: the covariance of the estimates; NaN where degrees of freedom are.
    covariance: np.ndarray
    # (K,) array: degrees of freedom of the t statistics.
    df: np.ndarray
    # The joint test of each hypothesis.
    tests: Mapping[str, Wald]


@dataclass(frozen=True)
class LayerFit:
    """One layer's regression. Numbers are NaN if there is a reason against the fit."""

    layer: int
    part: str  # of the layer; "" for the layer itself
    names: list[str]  # of the K terms
    # Why the layer has no estimates or no errors; None if it is fitted.
    reason: Reason | None
    # n_obs, n_documents, clusters: numbers of rows, and of documents and clusters with rows.
    n_obs: int
    n_documents: int
    clusters: int
    # How many clusters of equal size tell as much.
    effective_clusters: float
    # Number of terms and of removed means of documents.
    parameters: int
    # estimate, uncorrected, (K,) arrays: on the scale of the data, corrected for bias or not.
    estimate: np.ndarray
    uncorrected: np.ndarray
    errors: CoefficientErrors
    # What comes with draws: the test that halves of documents have equal lags and leads, and the
    # estimates in each draw, (draws, K), NaN where there is none.
    halves: Wald
    drawn: np.ndarray
    # The estimates without each cluster, if asked for.
    left_out: LeftOut | None = None
    # Columns of the table of fits, R² and the like, which come with folds; empty without a fit.
    goodness: dict[str, float] = field(default_factory=dict)

    @property
    def covariance(self) -> np.ndarray:
        """The covariance of the estimates, (K, K)."""
        return self.errors.covariance

    @property
    def df(self) -> np.ndarray:
        """Degrees of freedom of the t statistics, (K,)."""
        return self.errors.df

    @property
    def coefficients(self) -> Estimates:
        """The estimates with their standard errors, (K,)."""
        return Estimates(self.estimate, np.sqrt(np.diag(self.covariance)), self.df)


def fit_layer(
    solution: Solution | Unfitted,
    covariance: str,
    folds: int | PreparedMoments | None = None,
    *,
    hypotheses: Mapping[str, np.ndarray] | None = None,
    jackknifed: bool = False,
    draws: Iterable[np.ndarray] | None = None,
    meat: np.ndarray | None = None,
) -> LayerFit:
    """Return the estimates of a solved layer with their errors and tests.

    Parameters
    ----------
    solution : Solution or Unfitted
        What `least_squares.solve` returns.
    covariance : str
        A key of `covariances.CATALOGUE`.
    folds : int or PreparedMoments, optional
        For the goodness of fit and the test of all slopes, which there are not without: the number
        of folds of clusters of the cross-validated R², or moments by fold.
    hypotheses : mapping of str to (q, K) arrays, optional
        Combinations of coefficients that are tested to be zero together.
    jackknifed : bool
        Whether to give the estimates without each cluster, as folds and CRV3 do.
    draws : iterable of (block, clusters) arrays, optional
        Weights of the clusters, perhaps none. The regression is solved again in each draw, and it
        is tested whether the halves of documents are alike.
    meat : (K, K) array, optional
        The layer's `residuals.robust_meat`, which a covariance from residuals needs.
    """
    moments = solution.moments
    kind = CATALOGUE[covariance]
    tested = dict(hypotheses or {})
    if folds is not None:
        tested[SLOPES] = np.eye(moments.k)[0 if moments.has_fixed_effects else 1 :]
    left_out = None
    needs_left_out = jackknifed or folds is not None or kind.needs == "left_out"
    if isinstance(solution, Solution) and needs_left_out:
        left_out = leave_out_each(solution)

    reason = _reason_against_errors(solution, kind, left_out)
    estimate = np.full(moments.k, np.nan)
    uncorrected = estimate
    errors = _unknown_errors(moments.k, tested)
    measures: dict[str, float] = {}
    if isinstance(solution, Solution) and reason is None:
        estimate = solution.estimate
        uncorrected = solution.coefficients(solution.all_rows.theta)
        errors = _errors(solution, kind, tested, left_out, meat)
        if folds is not None and left_out is not None:
            sse_of_folds = squared_error_of_folds(solution, folds)
            measures = goodness(solution, left_out.sse, sse_of_folds)
    halves = NO_TEST
    drawn = np.empty((0, moments.k))
    if draws is not None:
        drawn = solution.weighted(draws)
        if isinstance(solution, Solution):
            halves = equal_halves(solution)
    return LayerFit(
        layer=moments.layer,
        part=moments.part,
        names=moments.names,
        reason=reason,
        n_obs=moments.n_obs,
        n_documents=moments.documents,
        clusters=moments.count,
        effective_clusters=moments.effective,
        parameters=moments.k + moments.absorbed,
        estimate=estimate,
        uncorrected=uncorrected,
        errors=errors,
        halves=halves,
        drawn=drawn,
        left_out=left_out if reason is None else None,
        goodness=measures,
    )


def _errors(
    solution: Solution,
    kind: Covariance,
    hypotheses: Mapping[str, np.ndarray],
    left_out: LeftOut | None,
    meat: np.ndarray | None,
) -> CoefficientErrors:
    """Return the errors of coefficients, by default clustered ones (CR2).

    Others come from the functions of an entry of the catalogue. ``hypotheses`` are (q, K) arrays.
    """
    if kind.needs == "cr2":  # `cluster`
        cr2_errors = clustered(solution, hypotheses=list(hypotheses.values()))
        tests = dict(zip(hypotheses, cr2_errors.tests, strict=True))
        return CoefficientErrors(cr2_errors.covariance, cr2_errors.df, tests)
    assert kind.covariance is not None
    assert kind.df is not None
    evidence = evidence_of(solution, kind, left_out, meat)
    covariance = kind.covariance(evidence)
    df = kind.df(evidence)
    tests = {}
    for name, hypothesis in hypotheses.items():
        variance = hypothesis @ covariance @ hypothesis.T
        tests[name] = f_test(hypothesis @ evidence.estimate, variance, df)
    return CoefficientErrors(covariance, np.full(len(evidence.estimate), float(df)), tests)


def clustered(
    solution: Solution,
    combinations: np.ndarray | None = None,
    hypotheses: Sequence[np.ndarray] = (),
) -> Cr2:
    """Return CR2 errors of all coefficients, or of (L, K) combinations of them.

    ``hypotheses`` are (q, L) combinations of these, which are tested to be zero together.
    """
    if combinations is None:
        combinations = np.eye(solution.moments.k)
    return cr2(
        score_blocks(solution),
        solution.moments.count,
        contrasts=combinations @ solution.to_coefficients,
        estimate=combinations @ solution.estimate,
        hypotheses=hypotheses,
    )


def coefficients_table(fits: Sequence[LayerFit], settings: Errors) -> pd.DataFrame:
    """Return the tidy table: one row per layer and term, or per layer, ``part`` and term.

    ``p_adjusted`` corrects the p-values of a term over the layers. Intervals are those of single
    coefficients. ``equivalence`` states whether one is negligible (`equivalence_test`), except for
    the intercept and the columns of a spline, for which no size is.
    """
    estimate = []
    std_error = []
    df = []
    uncorrected = []
    for fit in fits:
        estimate.append(fit.estimate)
        std_error.append(fit.coefficients.std_error)
        df.append(fit.df)
        uncorrected.append(fit.uncorrected)
    coefficients = Estimates(
        value=np.concatenate(estimate),
        std_error=np.concatenate(std_error),
        df=np.concatenate(df),
    )
    low, high = coefficients.interval(settings.alpha)
    table = pd.DataFrame(key_columns(fits)).assign(
        estimate=coefficients.value,
        uncorrected=np.concatenate(uncorrected),
        std_error=coefficients.std_error,
        df=coefficients.df,
        statistic=coefficients.statistic,
        p_value=coefficients.p_value,
        conf_low=low,
        conf_high=high,
        level=level_of(settings.alpha),
    )
    by_term = table.groupby("term")
    table["p_adjusted"] = by_term["p_value"].transform(adjusted_p_values, adjust=settings.adjust)
    table["equivalence"] = _equivalence(table, settings)
    table["vcov_type"] = settings.covariance
    if settings.cluster == "group":
        table["vcov_type"] += "-group"
    table["subset"] = "all"
    if any(fit.part for fit in fits):
        return table[[*COLUMNS[:2], "part", *COLUMNS[2:]]]
    return table[COLUMNS]


def _equivalence(table: pd.DataFrame, settings: Errors) -> pd.Series:
    """Return whether each coefficient of a table is negligible; None where no size is."""
    verdicts = pd.Series([None] * len(table), index=table.index, dtype=object)
    for term, layers in table.groupby("term"):
        if not str(term).startswith(("intercept", "position_")):
            verdicts[layers.index] = equivalence_test(
                layers["estimate"], layers["std_error"], layers["df"], settings
            )
    return verdicts


def contrast(solution: Solution, c: np.ndarray) -> Estimates:
    """Return combinations of coefficients with their clustered errors (CR2).

    ``c`` is (L, K), or (K,) for a single one; the estimates are (L,).
    """
    combinations = np.atleast_2d(c)
    errors = clustered(solution, combinations)
    std_error = np.sqrt(np.diag(errors.covariance))
    return Estimates(combinations @ solution.estimate, std_error, errors.df)


def _unknown_errors(k: int, hypotheses: Mapping[str, np.ndarray]) -> CoefficientErrors:
    """Return NaN for K coefficients and for the tests of hypotheses."""
    tests = {}
    for name, hypothesis in hypotheses.items():
        tests[name] = NO_TEST._replace(df=len(hypothesis))
    return CoefficientErrors(np.full((k, k), np.nan), np.full(k, np.nan), tests)


def _reason_against_errors(
    solution: Solution | Unfitted, kind: Covariance, left_out: LeftOut | None
) -> Reason | None:
    """Return why a layer has no estimates or no errors, if it has none."""
    if isinstance(solution, Unfitted):
        return solution.reason
    moments = solution.moments
    if kind.clustered and moments.count < MIN_DOCUMENTS:
        unit = "group" if moments.grouped else "document"
        return Reason(reasons.TOO_FEW_CLUSTERS, {"clusters": moments.count, "unit": unit})
    if kind.needs == "left_out" and left_out is not None:
        undefined = np.isnan(left_out.coefficients).any(axis=1)
        if undefined.any():
            cluster = left_out.names[undefined.argmax()]
            return Reason(reasons.COLLINEAR_WITHOUT_CLUSTER, {"cluster": cluster})
    return None
