"""The response of an outcome to a change some tokens before, which coefficients of lags imply.

A coefficient of lag 2 is partial: it holds lag 1 fixed. A token whose outcome is larger by 1 than
predicted also has a larger successor, and that one a larger one. With lags 1 to p, the outcome is
larger k tokens later by (Hamilton, Time Series Analysis, 1994, equation 1.2.30)

    h_0 = 1,    h_k = b_1 h_(k-1) + … + b_p h_(k-p),    h_k = 0 for k < 0:

b_1 after one token and b_1² + b_2 after two. Other terms than lags are held fixed. With leads
there is none: they make a regression that does not predict forwards.
"""

from collections.abc import Sequence

import numpy as np

from attnlag.regression.terms import distance, is_lag_or_lead, is_lead, lags_among

# The farthest token, in tokens after the change.
MAX_DISTANCE = 10


def response_terms(names: Sequence[str]) -> list[str]:
    """Return ``response_1`` and so on, one for each distance, given the terms of a regression.

    There are none with leads, or without lags.
    """
    terms = lags_among(names)
    if not terms or any(map(is_lead, terms)):
        return []
    return [f"response_{tokens}" for tokens in range(1, MAX_DISTANCE + 1)]


def responses(names: Sequence[str], estimates: np.ndarray) -> np.ndarray:
    """Return the response at each distance of `response_terms`.

    Parameters
    ----------
    names
        The K terms of the regression.
    estimates
        (…, K) coefficients of these terms.

    Returns
    -------
    (…, distances) array, NaN from the shortest lag on whose coefficient is NaN.
    """
    estimates = np.asarray(estimates, dtype=float)
    coefficients = {}
    for place, name in enumerate(names):
        if is_lag_or_lead(name):
            coefficients[distance(name)] = estimates[..., place]
    # The response after 0, 1, 2, … tokens.
    found = [np.ones(estimates.shape[:-1])]
    for later in range(1, 1 + len(response_terms(names))):
        response = np.zeros(estimates.shape[:-1])
        for lag, coefficient in coefficients.items():
            if lag <= later:
                response = response + coefficient * found[later - lag]
        found.append(response)
    return np.stack(found, axis=-1)[..., 1:]
