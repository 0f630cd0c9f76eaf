"""The settings of a fit where those that are stated do not suit its data.

They are not methods of the settings, because they select numbers: a change here reruns the fits.
"""

from typing import TypeVar

from attnlag.regression import covariances
from attnlag.regression.limits import MIN_DOCUMENTS
from attnlag.regression.settings import Errors, RegressionSettings

AnyErrors = TypeVar("AnyErrors", bound=Errors)


def possible_with(settings: RegressionSettings, documents: int) -> RegressionSettings:
    """Return the settings that a number of documents with rows allows.

    If they are too few to cluster by, clustered errors become HAC errors within sequences. The
    half-panel jackknife has no HAC errors, so it is switched off. The mean of a single document is
    the intercept.
    """
    if documents >= MIN_DOCUMENTS:
        return settings
    clustered = covariances.CATALOGUE[settings.covariance].clustered
    return settings.changed(
        fixed_effects=settings.fixed_effects if documents > 1 else "none",
        bias_correction="none",
        covariance="hac" if clustered else settings.covariance,
        cluster="document",
    )


def from_sums(settings: AnyErrors) -> AnyErrors:
    """Return the settings with clustered errors in place of those that need residuals."""
    if covariances.CATALOGUE[settings.covariance].needs == "meat":
        return settings.changed(covariance="cluster")
    return settings


def by_document(settings: AnyErrors) -> AnyErrors:
    """Return the settings with errors from sums, by document if they are clustered."""
    return from_sums(settings).changed(cluster="document")
