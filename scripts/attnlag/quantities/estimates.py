"""Estimates with their errors: t statistics, p-values and intervals."""

from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Estimates:
    """Estimates of one or more numbers. The fields broadcast; NaN is unknown."""

    value: np.ndarray
    std_error: np.ndarray
    # Degrees of freedom of t.
    df: np.ndarray

    @property
    def statistic(self) -> np.ndarray:
        """The value in standard errors."""
        return self.value / self.std_error

    @property
    def p_value(self) -> np.ndarray:
        """Two-sided p-value of a value of zero."""
        return 2 * special.stdtr(self.df, -np.abs(self.statistic))

    def margin(self, alpha: float) -> np.ndarray:
        """Return half the width of the interval of level 1 - alpha."""
        return special.stdtrit(self.df, 1 - alpha / 2) * self.std_error

    def interval(self, alpha: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and the upper end of the interval of level 1 - alpha."""
        margin = self.margin(alpha)
        return self.value - margin, self.value + margin
