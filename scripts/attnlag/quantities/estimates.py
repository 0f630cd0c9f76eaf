"""Estimates with their errors: t statistics, p-values and intervals."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import special


@dataclass(frozen=True)
class Estimates:
    """Estimates of one or more numbers: floats or arrays that broadcast; NaN is unknown."""

    value: Any
    std_error: Any
    # Degrees of freedom of t.
    df: Any

    @property
    def statistic(self) -> Any:
        """The value in standard errors."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(self.value, self.std_error)

    @property
    def p_value(self) -> Any:
        """Two-sided p-value of a value of zero."""
        return 2 * special.stdtr(self.df, -np.abs(self.statistic))

    def margin(self, alpha: float) -> Any:
        """Return half the width of the interval of level 1 - alpha."""
        return special.stdtrit(self.df, 1 - alpha / 2) * self.std_error

    def interval(self, alpha: float) -> tuple[Any, Any]:
        """Return the lower and the upper end of the interval of level 1 - alpha."""
        margin = self.margin(alpha)
        return self.value - margin, self.value + margin


def level_of(alpha: float) -> float:
    """Return the level 1 - alpha of an interval without the rounding error of the difference."""
    return round(1 - alpha, 12)
