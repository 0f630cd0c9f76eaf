"""The catalogue of covariances: how errors of coefficients are estimated.

A covariance is one entry of `CATALOGUE`. The allowed values of ``inference.covariance``, the errors
of a fit, its degrees of freedom, and the words for them in figures, summaries and the methods of a
paper derive from it.

The workflow imports this module whenever it starts, so it imports no numpy. The functions work on
the arrays of a `regress.LayerSums`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from attnlag.regression.estimation.regress import LayerSums


@dataclass(frozen=True)
class Covariance:
    """An estimator of the covariance of coefficients."""

    # In figures and summaries; ``{}`` stands for the unit of clustering.
    label: str
    # After "Standard errors" in the methods of a paper; ``{}`` as above, ``{1}`` for the HAC lags.
    method: str
    # Returns the covariance, (K, K), in coordinates in which X'X is I. There Σ ψ_g ψ_g', the
    # ``meat`` of the sums, is a whole sandwich.
    of: Callable[[LayerSums], np.ndarray]
    # Returns the degrees of freedom of t: those of each coefficient, or one number for all.
    df: Callable[[LayerSums], Any]
    # Whether errors may depend on each other within clusters.
    clustered: bool = False
    # Whether its degrees of freedom are Satterthwaite's, which joint tests have of their own (AHT).
    satterthwaite: bool = False
    # Whether it needs the estimates without each cluster.
    jackknife: bool = False
    # Whether it needs the pass over the residuals.
    residuals: bool = False


CATALOGUE = {
    "cluster": Covariance(
        "clustered by {} (CR2)",
        "are clustered by {} (CR2 [@bell2002], with the degrees of freedom of Satterthwaite "
        "[@pustejovsky2018])",
        of=lambda sums: sums.adjusted,
        df=lambda sums: sums.df,
        clustered=True,
        satterthwaite=True,
    ),
    "cluster-crv1": Covariance(
        "clustered by {} (CRV1)",
        "are clustered by {} (CRV1 [@liang1986], t with one degree of freedom less than there are "
        "clusters)",
        of=lambda sums: sums.crv1_factor * sums.meat,
        df=lambda sums: sums.clusters - 1,
        clustered=True,
    ),
    "cluster-jackknife": Covariance(
        "clustered by {}, jackknife (CRV3)",
        "are clustered by {} (the jackknife CRV3 [@mackinnon2023])",
        of=lambda sums: sums.crv3,
        df=lambda sums: sums.left_out_clusters - 1,
        clustered=True,
        jackknife=True,
    ),
    "hac": Covariance(
        "HAC within sequences (Newey-West)",
        "are Newey-West ones within sequences [@newey1987], over {1} lags",
        of=lambda sums: sums.solution.back.T @ sums.robust_meat @ sums.solution.back,
        df=lambda sums: sums.solution.df_resid,
        residuals=True,
    ),
    "nonrobust": Covariance(
        "nonrobust",
        "are classical: errors are taken to be independent and of equal variance",
        of=lambda sums: sums.independent,
        df=lambda sums: sums.solution.df_resid,
    ),
}


def label_of(vcov_type: str) -> str:
    """Return the label of the kind of errors in a table, which may be clustered by group."""
    kind = vcov_type.removesuffix("-group")
    unit = "document" if kind == vcov_type else "group of documents"
    return CATALOGUE[kind].label.format(unit)
