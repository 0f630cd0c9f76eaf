"""The regression of one layer: its estimates, their errors, and how well they fit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from attnlag.quantities.estimates import Estimates
from attnlag.regression import reasons
from attnlag.regression.covariances import CATALOGUE, Covariance
from attnlag.regression.estimation.cr2 import Cr2, cr2
from attnlag.regression.estimation.equal_halves import equal_halves
from attnlag.regression.estimation.goodness import effective_clusters, goodness
from attnlag.regression.estimation.jackknife import LeftOut, leave_out_each, leave_out_folds
from attnlag.regression.estimation.least_squares import (
    Solution,
    Unfitted,
    cluster_scores,
    score_blocks,
)
from attnlag.regression.estimation.wald import NO_TEST, Wald, f_test
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.moments.moments import PreparedMoments
from attnlag.regression.reasons import Reason


@dataclass(frozen=True)
class Evidence:
    """What estimators of a covariance see of a solved layer (`covariances.CATALOGUE`).

    `_evidence` computes what the chosen estimator needs, for CR2 by `cr2.cr2`. `_errors` calls the
    estimator, and so gets the covariance that stands in the evidence or is made from it.
    """

    n_obs: int
    # absorbed, clusters: numbers of removed means of documents, and of clusters with rows.
    absorbed: int
    clusters: int
    # (K,) array.
    estimate: np.ndarray
    # inverse, bread, (K, K) arrays: (X'X)⁻¹, and the map from scores of centred regressors to
    # coefficients, which differs from it in the intercept.
    inverse: np.ndarray
    bread: np.ndarray
    # s², that of the residuals.
    variance: float
    # The other fields are None unless an estimator needs them.
    cr2: Cr2 | None = None
    # (clusters, K) array: ψ_g, the change of the estimate per unit of the weight of each cluster.
    scores: np.ndarray | None = None
    left_out: LeftOut | None = None
    # (K, K) array: `residuals.robust_meat` of the layer.
    meat: np.ndarray | None = None


@dataclass(frozen=True)
class LayerErrors:
    """The errors of K coefficients."""

    # (K, K) array: the covariance of the estimates; NaN where degrees of freedom are.
    covariance: np.ndarray
    # (K,) array: degrees of freedom of the t statistics.
    df: np.ndarray
    # The joint tests that were asked for.
    tests: list[Wald]


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
    # Number of terms and of removed means of documents.
    parameters: int
    # estimate, uncorrected, (K,) arrays: on the scale of the data, corrected for bias or not.
    estimate: np.ndarray
    uncorrected: np.ndarray
    errors: LayerErrors
    # Test that all slopes are zero, which comes with folds.
    wald: Wald
    # Test that the halves of documents have equal lags and leads, which comes with draws.
    halves: Wald
    # (draws, K) array: the estimates in each draw; NaN where there is none.
    drawn: np.ndarray
    # The estimates without each cluster, if asked for.
    left_out: LeftOut | None = None
    # Columns of the table of fits: R² and the like; empty without a fit.
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
    def joint(self) -> list[Wald]:
        """The tests of the hypotheses."""
        return self.errors.tests

    @property
    def coefficients(self) -> Estimates:
        """The estimates with their errors, (K,)."""
        return Estimates(self.estimate, np.sqrt(np.diag(self.covariance)), self.df)


def fit_layer(
    solution: Solution | Unfitted,
    covariance: str,
    folds: int | PreparedMoments | None = None,
    *,
    hypotheses: Sequence[np.ndarray] = (),
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
        For the cross-validated R²: a number of folds of clusters, or moments by fold. Without them
        there is no such R² and no joint test of all slopes.
    hypotheses : sequence of (q, K) arrays
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
    tested = list(hypotheses)
    if folds is not None:
        slopes = np.eye(moments.k)[0 if moments.has_fixed_effects else 1 :]
        tested.append(slopes)
    halves = NO_TEST
    left_out = None
    out_of_fold = None
    reason = None
    if isinstance(solution, Unfitted):
        reason = solution.reason
    else:
        if draws is not None:
            halves = equal_halves(solution)
        if folds is not None or kind.needs == "left_out" or jackknifed:
            left_out = leave_out_each(solution)
        if folds is not None:
            out_of_fold = leave_out_folds(solution, folds)
        reason = _no_errors(moments, kind, left_out)

    estimate = np.full(moments.k, np.nan)
    uncorrected = estimate
    layer_errors = _unknown_errors(moments.k, tested)
    measures: dict[str, float] = {}
    if isinstance(solution, Solution) and reason is None:
        estimate = solution.estimate
        uncorrected = solution.coefficients(solution.whole.theta)
        evidence = _evidence(solution, kind, tested, left_out, meat)
        layer_errors = _errors(evidence, kind, tested)
        measures = goodness(solution, left_out, out_of_fold)
        measures["effective_documents"] = effective_clusters(solution)
    wald = NO_TEST
    if folds is not None:
        *tests, wald = layer_errors.tests
        layer_errors = replace(layer_errors, tests=tests)
    return LayerFit(
        layer=moments.layer,
        part=moments.part,
        names=moments.names,
        reason=reason,
        n_obs=moments.n_obs,
        n_documents=moments.documents,
        clusters=moments.count,
        parameters=moments.k + moments.absorbed,
        estimate=estimate,
        uncorrected=uncorrected,
        errors=layer_errors,
        wald=wald,
        halves=halves,
        drawn=solution.weighted(draws or ()),
        left_out=left_out if reason is None else None,
        goodness=measures,
    )


def contrast(solution: Solution, c: np.ndarray) -> Estimates:
    """Return combinations of coefficients with their clustered errors (CR2).

    ``c`` is (L, K), or (K,) for a single one; the estimates are (L,).
    """
    rows = np.atleast_2d(c)
    estimate = rows @ solution.estimate
    clustered = cr2(
        score_blocks(solution),
        solution.moments.count,
        contrasts=rows @ solution.to_coefficients,
        estimate=estimate,
    )
    return Estimates(estimate, np.sqrt(np.diag(clustered.covariance)), clustered.df)


def _no_errors(
    moments: PreparedMoments, kind: Covariance, left_out: LeftOut | None
) -> Reason | None:
    """Return why a solved layer has no errors, if it has none."""
    if kind.clustered and moments.count < MIN_DOCUMENTS:
        unit = "group" if moments.grouped else "document"
        return Reason(reasons.TOO_FEW_CLUSTERS, {"clusters": moments.count, "unit": unit})
    if kind.needs == "left_out" and left_out is not None:
        undefined = np.isnan(left_out.coefficients).any(axis=1)
        if undefined.any():
            cluster = left_out.names[undefined.argmax()]
            return Reason(reasons.COLLINEAR_WITHOUT_CLUSTER, {"cluster": cluster})
    return None


def _evidence(
    solution: Solution,
    kind: Covariance,
    hypotheses: Sequence[np.ndarray],
    left_out: LeftOut | None,
    meat: np.ndarray | None,
) -> Evidence:
    """Return what the estimator of a covariance sees."""
    moments = solution.moments
    to_coefficients = solution.to_coefficients
    clustered = None
    if kind.needs == "cr2":
        clustered = cr2(
            score_blocks(solution),
            moments.count,
            contrasts=to_coefficients,
            estimate=solution.estimate,
            hypotheses=hypotheses,
        )
    scores = None
    if kind.needs == "scores":
        scores = cluster_scores(solution) @ to_coefficients.T
    return Evidence(
        n_obs=moments.n_obs,
        absorbed=moments.absorbed,
        clusters=moments.count,
        estimate=solution.estimate,
        inverse=to_coefficients @ to_coefficients.T,
        bread=to_coefficients @ solution.unwhiten.T,
        variance=solution.ssr / moments.df_resid,
        cr2=clustered,
        scores=scores,
        left_out=left_out,
        meat=meat,
    )


def _errors(evidence: Evidence, kind: Covariance, hypotheses: Sequence[np.ndarray]) -> LayerErrors:
    """Return the errors of coefficients, by the function of ``kind``."""
    covariance = kind.covariance(evidence)
    df = np.broadcast_to(np.asarray(kind.df(evidence), dtype=float), evidence.estimate.shape)
    if evidence.cr2 is not None:
        tests = evidence.cr2.tests
    else:
        tests = []
        for rows in hypotheses:
            variance = rows @ covariance @ rows.T
            tests.append(f_test(rows @ evidence.estimate, variance, kind.df(evidence)))
    covariance = covariance.copy()
    unknown = np.isnan(df)
    covariance[unknown] = np.nan
    covariance[:, unknown] = np.nan
    return LayerErrors(covariance, df, tests)


def _unknown_errors(k: int, hypotheses: Sequence[np.ndarray]) -> LayerErrors:
    """Return NaN for K coefficients and for the tests of hypotheses."""
    tests = [NO_TEST._replace(df=len(rows)) for rows in hypotheses]
    return LayerErrors(np.full((k, k), np.nan), np.full(k, np.nan), tests)
