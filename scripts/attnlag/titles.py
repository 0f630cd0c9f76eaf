"""What a figure shows, in a few words, for its title: from the numbers that it draws."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from attnlag.figures import is_permuted, lags_among, named

# Nearer to the layer's typical norm than this factor, first tokens do not stand out.
STANDS_OUT = 1.25
NORMAL_KURTOSIS = 3.0


def of_coefficients(coefficients: pd.DataFrame, alpha: float) -> str:
    """Return in how many layers each lag and lead is significant.

    Parameters
    ----------
    coefficients : pandas.DataFrame
        A tidy table with a row per layer and term.
    alpha : float
        Level of significance, of ``p_adjusted``.
    """
    permuted = is_permuted(coefficients)
    layers = coefficients["layer"].nunique()
    parts: list[str] = []
    for term in lags_among(list(coefficients["term"])):
        rows = coefficients[coefficients["term"] == term]
        if rows["p_adjusted"].isna().all():
            continue
        count = int((rows["p_adjusted"] < alpha).sum())
        if not parts:
            verb = "differs from its null" if permuted else "predicts"
            parts.append(f"{named(term).capitalize()} {verb} in {count} of {layers} layers")
        else:
            parts.append(f"{named(term)} in {count}")
    return ", ".join(parts) or "Coefficients by layer"


def of_r_squared(fits: pd.DataFrame) -> str:
    """Return how much of the variance is explained at most, and in which layer."""
    fitted = fits.dropna(subset=["r_squared"])
    if fitted.empty:
        return "Outcome by lag"
    best = fitted.iloc[int(fitted["r_squared"].argmax())]
    return (
        f"The regression explains up to {best['r_squared']:.0%} of the variance "
        f"(layer {int(best['layer'])})"
    )


def of_norms(medians: Sequence[float], layers: Sequence[int]) -> str:
    """Return the smallest and the largest typical norm, with their layers.

    Parameters
    ----------
    medians : sequence of float
        Of the log norms of each layer; NaN where there are none.
    layers : sequence of int
    """
    known = np.asarray(medians, dtype=float)
    if not np.isfinite(known).any():
        return "Norms by layer"
    low, high = int(np.nanargmin(known)), int(np.nanargmax(known))
    return (
        f"Median norm from {np.exp(known[low]):.2g} (layer {layers[low]}) to "
        f"{np.exp(known[high]):.3g} (layer {layers[high]})"
    )


def of_positions(first: np.ndarray, typical: np.ndarray, layers: Sequence[int]) -> str:
    """Return by which factor first tokens differ from the others of their layer.

    Parameters
    ----------
    first, typical : (layers,) float array
        Mean log norm of first tokens, and of those that the regressions keep.
    layers : sequence of int
    """
    difference = np.asarray(first) - np.asarray(typical)
    if not np.isfinite(difference).any():
        return "Norms along the text"
    factor = np.exp(np.abs(difference))
    large, small = factor[difference > 0], factor[difference < 0]
    parts: list[str] = []
    if len(large) and np.nanmax(large) > STANDS_OUT:
        place = int(np.nanargmax(difference))
        parts.append(f"up to {np.nanmax(large):.2g} times as large (layer {layers[place]})")
    if len(small) and np.nanmax(small) > STANDS_OUT:
        place = int(np.nanargmin(difference))
        parts.append(f"down to 1/{np.nanmax(small):.2g} (layer {layers[place]})")
    if not parts:
        return "First tokens are like the others"
    return f"First tokens against the others: {', '.join(parts)}"


def of_groups(coefficients: pd.DataFrame, term: str, alpha: float) -> str:
    """Return in how many layers of all groups a term is significant."""
    rows = coefficients[coefficients["term"] == term].dropna(subset=["p_adjusted"])
    if rows.empty:
        return "Groups of documents"
    share = (rows["p_adjusted"] < alpha).groupby(rows["subset"], sort=False).mean()
    lag = named(term).capitalize()
    if share.nunique() == 1:
        return f"{lag} predicts in {share.iloc[0]:.0%} of the layers of every group"
    return (
        f"{lag} predicts in {share.min():.0%} ({share.idxmin()}) to "
        f"{share.max():.0%} ({share.idxmax()}) of the layers"
    )


def of_specifications(regressions: Sequence[pd.DataFrame], terms: Mapping[str, str]) -> str:
    """Return the median coefficient over the layers of each regression.

    Parameters
    ----------
    regressions : sequence of pandas.DataFrame
        Tidy tables.
    terms : mapping of regression to term
        The term that is drawn of each. If they differ, there is no common title.
    """
    if len(set(terms.values())) != 1:
        return "Regressions by layer"
    term = next(iter(terms.values()))
    parts: list[str] = []
    for table in regressions:
        rows = table[table["term"] == term]
        # Of a permuted regression the null: what is left when order means nothing.
        parts.append(f"{table['regression'].iloc[0]} {rows['estimate'].median():.2f}")
    return f"{named(term).capitalize()}, median over the layers: {', '.join(parts)}"


def of_diagnostics(fits: pd.DataFrame) -> str:
    """Return in how many layers residuals have heavier tails than a normal distribution."""
    kurtosis = fits["kurtosis"].dropna()
    if kurtosis.empty:
        return "Diagnostics"
    heavy = int((kurtosis > NORMAL_KURTOSIS).sum())
    return (
        f"Residuals have heavier tails than normal in {heavy} of {len(kurtosis)} layers "
        f"(kurtosis up to {kurtosis.max():.1f})"
    )


def of_comparison(coefficients: pd.DataFrame, alpha: float) -> str:
    """Return in how many layers of all models the nearest lag or lead is significant.

    Parameters
    ----------
    coefficients : pandas.DataFrame
        The comparison's table of one site and regression, with ``control`` for random weights.
    alpha : float
        Level of significance, of ``p_adjusted``.
    """
    term = lags_among(list(coefficients["term"]))[0]
    rows = coefficients[coefficients["term"] == term].dropna(subset=["p_adjusted"])
    parts: list[str] = []
    for control, of_kind in rows.groupby("control"):
        significant = of_kind["p_adjusted"] < alpha
        share = significant.groupby([of_kind["model"], of_kind["corpus"]]).mean()
        low, high = f"{share.min():.0%}", f"{share.max():.0%}"
        words = low if low == high else f"{low} to {high}"
        parts.append(f"with random weights in {words}" if control else f"in {words} of the layers")
    if not parts:
        return "Coefficients by relative depth"
    verb = "differs from its null" if is_permuted(coefficients) else "predicts"
    return f"{named(term).capitalize()} {verb} {', '.join(parts)}"


def of_sites(coefficients: Mapping[str, pd.DataFrame], alpha: float) -> str:
    """Return in how many layers of each site the nearest lag or lead is significant."""
    parts: list[str] = []
    for site, table in coefficients.items():
        term = lags_among(list(table["term"]))[0]
        rows = table[table["term"] == term]
        count = int((rows["p_adjusted"] < alpha).sum())
        named_term = f"{named(term).capitalize()} predicts in " if not parts else ""
        parts.append(f"{named_term}{count} of {len(rows)} layers ({site})")
    return ", ".join(parts)
