"""The catalogue of covariances: how errors of coefficients are estimated.

A covariance is one entry of `CATALOGUE`. The allowed values of ``inference.covariance``, the errors
of a fit, its degrees of freedom, and the words for them in figures and summaries derive from it.

`attnlag.regression.estimation.clustered` has the sums over clusters that they are made of (scores,
their adjustment, degrees of freedom), and the way from a solved layer to a clustered error. The
workflow imports this module whenever it starts, so it imports no numpy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# A `clustered.ClusterSums` of a layer, whose module imports numpy.
Clusters = Any


@dataclass(frozen=True)
class Covariance:
    """An estimator of the covariance of coefficients."""

    # In figures and summaries; ``{}`` stands for the unit of clustering.
    label: str
    # Returns the covariance, (K, K), in coordinates in which X'X is I. There Σ ψ_g ψ_g' of the
    # scores of clusters is a whole sandwich.
    of: Callable[[Clusters], Any]
    # Returns the degrees of freedom of t: those of each coefficient, or one number for all.
    df: Callable[[Clusters], Any]
    # Whether errors may depend on each other within clusters.
    clustered: bool = False
    # Whether its degrees of freedom are Satterthwaite's, which joint tests have of their own (AHT).
    satterthwaite: bool = False
    # Whether it needs the estimates without each cluster.
    jackknife: bool = False
    # Whether it needs the pass over the residuals.
    residuals: bool = False


def _cr2(clusters: Clusters) -> Any:
    return clusters.adjusted.T @ clusters.adjusted


def _crv1(clusters: Clusters) -> Any:
    """Return G/(G-1) (N-1)/(N-K) Σ ψ_g ψ_g'.

    Effects of documents are nested in the clusters: they cost one degree of freedom, for their
    level.
    """
    solution, g = clusters.solution, clusters.solution.moments.count
    columns = solution.k + bool(solution.absorbed)
    factor = g / (g - 1) * (solution.n_obs - 1) / (solution.n_obs - columns)
    return factor * clusters.plain.T @ clusters.plain


def _crv3(clusters: Clusters) -> Any:
    """Return (G-1)/G times the squared changes of the estimates without each cluster."""
    change = clusters.left_out.thetas - clusters.solution.theta
    return (len(change) - 1) / len(change) * change.T @ change


def _hac(clusters: Clusters) -> Any:
    return clusters.solution.back.T @ clusters.robust_meat @ clusters.solution.back


def _independent(clusters: Clusters) -> Any:
    import numpy as np

    return clusters.solution.ssr / clusters.solution.df_resid * np.eye(clusters.solution.k)


CATALOGUE = {
    "cluster": Covariance(
        "clustered by {} (CR2)",
        of=_cr2,
        df=lambda clusters: clusters.df,
        clustered=True,
        satterthwaite=True,
    ),
    "cluster-crv1": Covariance(
        "clustered by {} (CRV1)",
        of=_crv1,
        df=lambda clusters: clusters.solution.moments.count - 1,
        clustered=True,
    ),
    "cluster-jackknife": Covariance(
        "clustered by {}, jackknife (CRV3)",
        of=_crv3,
        df=lambda clusters: len(clusters.left_out.places) - 1,
        clustered=True,
        jackknife=True,
    ),
    "hac": Covariance(
        "HAC within sequences (Newey-West)",
        of=_hac,
        df=lambda clusters: clusters.solution.df_resid,
        residuals=True,
    ),
    "nonrobust": Covariance(
        "nonrobust",
        of=_independent,
        df=lambda clusters: clusters.solution.df_resid,
    ),
}

_NAMES = [name for name, kind in CATALOGUE.items() if kind.clustered]
# Those that are clustered, in words.
CLUSTERED = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"


def label_of(vcov_type: str) -> str:
    """Return the label of the kind of errors in a table, which may be clustered by group."""
    kind = vcov_type.removesuffix("-group")
    unit = "document" if kind == vcov_type else "group of documents"
    return CATALOGUE[kind].label.format(unit)
