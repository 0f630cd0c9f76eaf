"""Means over tokens, with errors clustered by document."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from attnlag.quantities.estimates import Estimates, level_of


@dataclass
class RatioSums:
    """Sums over clusters for a mean θ = Σ Y_g / Σ N_g of the N_g rows of each cluster.

    The variance is G*/(G* - 1) Σ (Y_g - θ N_g)² / N² with the effective number of clusters
    G* = N² / Σ N_g², and t has G* - 1 degrees of freedom. For independent rows the variance is
    unbiased, as that of CR2 is, and Satterthwaite's degrees of freedom are at least these; clusters
    of equal size make both equal to CR2's.
    """

    # clusters, rows, rows_squared, total, total_squared, crossed: number of clusters with rows, Σ
    # N_g, Σ N_g², Σ Y_g, Σ Y_g², Σ Y_g N_g.
    clusters: Any
    rows: Any
    rows_squared: Any
    total: Any
    total_squared: Any
    crossed: Any

    @classmethod
    def of(cls, total: np.ndarray, rows: np.ndarray, cell: np.ndarray | None = None) -> Self:
        """Return the sums of clusters, given Y_g and N_g, each (clusters, …).

        If the cell of each is given, numbered from 0, they are the sums of each cell.
        """

        def summed(value: np.ndarray) -> np.ndarray:
            return value.sum(axis=0) if cell is None else np.bincount(cell, value)

        return cls(
            clusters=summed(rows > 0),
            rows=summed(rows),
            rows_squared=summed(rows**2),
            total=summed(total),
            total_squared=summed(total**2),
            crossed=summed(total * rows),
        )

    @classmethod
    def from_rows(cls, values: np.ndarray, cluster: np.ndarray) -> Self:
        """Return the sums of the finite values, given the cluster of each, numbered from 0.

        Both are (rows,).
        """
        finite = np.isfinite(values)
        rows = np.bincount(cluster[finite]).astype(float)
        return cls.of(np.bincount(cluster[finite], values[finite]), rows)

    @property
    def mean(self) -> Any:
        """θ; NaN without rows."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.divide(self.total, self.rows)

    @property
    def df(self) -> Any:
        """G* - 1; NaN with fewer than two clusters."""
        with np.errstate(divide="ignore", invalid="ignore"):
            effective = np.divide(np.square(self.rows), self.rows_squared)
        return np.where(np.greater(self.clusters, 1), effective - 1, np.nan)

    @property
    def std_error(self) -> Any:
        """Standard error of the mean."""
        mean = self.mean
        df = self.df
        squares = self.total_squared - 2 * mean * self.crossed + mean**2 * self.rows_squared
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.sqrt((df + 1) / df * np.maximum(squares, 0)) / self.rows

    @property
    def estimates(self) -> Estimates:
        """The mean with its error."""
        return Estimates(self.mean, self.std_error, self.df)

    @property
    def p_value(self) -> Any:
        """Two-sided p-value of a mean of zero; NaN with fewer than two clusters."""
        return self.estimates.p_value

    def columns(self, alpha: float) -> dict[str, Any]:
        """Return the columns of a table of means over tokens, clustered by document."""
        low, high = self.estimates.interval(alpha)
        ends = {"conf_low": low, "conf_high": high, "level": level_of(alpha)}
        counts = {"tokens": self.rows.astype(int), "documents": self.clusters.astype(int)}
        return {"mean": self.mean, "std_error": self.std_error, **ends, **counts}
