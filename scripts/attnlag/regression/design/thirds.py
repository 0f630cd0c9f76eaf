"""Thirds of the tokens by a number, such as surprisal, whose slopes stand side by side as classes.

Classes assume no form of the dependence on the number (Hainmueller, Mummolo and Xu 2019).
"""

from collections.abc import Sequence

import numpy as np

from attnlag.regression.design.properties import Property


def cuts_of(number: Property) -> list[float]:
    """Return the largest numbers in the lowest and the middle third of all tokens that have one."""
    numbers = number.values[~np.isnan(number.values)]
    if not len(numbers):
        return [0.0, 0.0]
    return np.quantile(numbers, [1 / 3, 2 / 3], method="inverted_cdf").tolist()


def thirds_of(numbers: np.ndarray, cuts: Sequence[float]) -> np.ndarray:
    """Return the third of each number as an index into `TERCILES`; NaN if the number is unknown.

    Equal numbers are in the same third, so the thirds of a number with few values differ in size.
    """
    thirds = np.searchsorted(cuts, numbers, side="left").astype(np.float64)
    thirds[np.isnan(numbers)] = np.nan
    return thirds
