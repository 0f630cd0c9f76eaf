"""The catalogue of covariances: how errors of coefficients are estimated.

A covariance is one entry of `CATALOGUE`. The allowed values of ``inference.covariance``, the errors
of a fit, its degrees of freedom, and the words for them in figures and summaries derive from it.

Clustered errors are CR2 by default: `estimation.cr2` has the formula, and `inference.layer_fit`
calls it. Any other estimator is a function here of `evidence.Evidence`, a record of what a solved
layer gives, of which an entry names what it ``needs``. The workflow imports this module whenever it
starts, so it imports no numpy.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

# A `evidence.Evidence`, whose module imports numpy.
Evidence = Any

# What an estimator may need beside the solution: CR2 itself, or a field of the evidence.
Need = Literal["cr2", "scores", "left_out", "meat"]


@dataclass(frozen=True)
class Covariance:
    """An estimator of the covariance of coefficients."""

    # In figures and summaries; ``{}`` stands for the unit of clustering.
    label: str
    # Returns the covariance of the K coefficients, (K, K); None for CR2, which comes with its
    # degrees of freedom and joint tests.
    covariance: Callable[[Evidence], Any] | None = None
    # Returns the degrees of freedom of t and F; None for CR2.
    df: Callable[[Evidence], Any] | None = None
    # The clusters' scores, the estimates without each cluster, or the middle of a sandwich from the
    # pass over the residuals; "cr2" for CR2.
    needs: Need | None = None

    @property
    def clustered(self) -> bool:
        """Whether errors may depend on each other within clusters."""
        return self.needs in ("cr2", "scores", "left_out")


def _crv1(evidence: Evidence) -> Any:
    """Return G/(G-1) (N-1)/(N-K) Σ ψ_g ψ_g'.

    Effects of documents are nested in the clusters: they cost one degree of freedom, for their
    level.
    """
    g = evidence.clusters
    n = evidence.n_obs
    columns = len(evidence.estimate) + bool(evidence.absorbed)
    factor = g / (g - 1) * (n - 1) / (n - columns)
    return factor * evidence.scores.T @ evidence.scores


def _crv3(evidence: Evidence) -> Any:
    """Return (G-1)/G times the squared changes of the estimates without each cluster."""
    change = evidence.left_out.coefficients - evidence.estimate
    return (len(change) - 1) / len(change) * change.T @ change


def _clusters_less_one(evidence: Evidence) -> int:
    return evidence.clusters - 1


def _hac(evidence: Evidence) -> Any:
    return evidence.bread @ evidence.meat @ evidence.bread.T


def _nonrobust(evidence: Evidence) -> Any:
    """Return s² (X'X)⁻¹."""
    return evidence.variance * evidence.inverse


def _residual_df(evidence: Evidence) -> int:
    return evidence.n_obs - len(evidence.estimate) - evidence.absorbed


CATALOGUE = {
    "cluster": Covariance("clustered by {} (CR2)", needs="cr2"),
    "cluster-crv1": Covariance(
        "clustered by {} (CRV1)", covariance=_crv1, df=_clusters_less_one, needs="scores"
    ),
    "cluster-jackknife": Covariance(
        "clustered by {}, jackknife (CRV3)",
        covariance=_crv3,
        df=_clusters_less_one,
        needs="left_out",
    ),
    "hac": Covariance(
        "HAC within sequences (Newey-West)", covariance=_hac, df=_residual_df, needs="meat"
    ),
    "nonrobust": Covariance("nonrobust", covariance=_nonrobust, df=_residual_df),
}

_NAMES = [name for name, kind in CATALOGUE.items() if kind.clustered]
# Those that are clustered, in words.
CLUSTERED = f"{', '.join(_NAMES[:-1])} or {_NAMES[-1]}"


def label_of(vcov_type: str) -> str:
    """Return the label of the kind of errors in a table, which may be clustered by group."""
    kind = vcov_type.removesuffix("-group")
    unit = "document" if kind == vcov_type else "group of documents"
    return CATALOGUE[kind].label.format(unit)
