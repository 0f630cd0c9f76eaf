"""Findings of the regressions of vectors in words."""

from collections.abc import Sequence

import pandas as pd

from attnlag.errors import counted
from attnlag.regression.beyond.vector_fits import (
    DOCUMENT,
    HIGHEST,
    PERMUTED,
    RANDOM,
    SCALAR,
    VECTOR,
)
from attnlag.regression.labels import spans, with_minus_signs
from attnlag.report.medians import in_common

BESIDE = {
    SCALAR: "the previous vector times one number",
    DOCUMENT: "the mean of the document's other tokens",
    PERMUTED: "tokens in permuted order",
    RANDOM: "the architecture with random weights",
}


def vector_findings(table: pd.DataFrame, *, name: str, alpha: float, lags: Sequence[int]) -> str:
    """Return the R² of the prediction of vectors, that of its controls, and the ranks needed.

    ``table`` is from `vector_fits.table_of`, ``lags`` are distances to the predicting vectors, and
    intervals cover 1 - ``alpha``.
    """
    title = f"{name}, vectors:"
    of_vectors = table[(table["predictor"] == VECTOR) & table["r_squared"].notna()]
    if of_vectors.empty:
        return f"{title}\n  no layer has varying vectors in enough documents for its folds\n"
    by_rank = of_vectors.pivot(index="layer", columns="rank", values="r_squared")
    full = by_rank.columns.max()
    fits = of_vectors[of_vectors["rank"] == full].set_index("layer")
    best = fits.iloc[int(fits["r_squared"].argmax())]
    interval = ""
    if pd.notna(best["conf_low"]):
        interval = (
            f", {100 * (1 - alpha):g}% interval {best['conf_low']:.3f} to {best['conf_high']:.3f}"
        )
    lines = [
        f"a linear prediction of a token's vector from previous ones ({spans(lags)}) has an R² of "
        f"{fits['r_squared'].median():.3f} in the median layer, in "
        f"{counted(int(fits['documents'].max()), 'unseen document')}; "
        f"{fits['r_squared'].min():.3f} to {fits['r_squared'].max():.3f} over the layers "
        f"(highest in layer {best.name}{interval})"
    ]
    others = table[table["predictor"] != VECTOR].pivot(
        index="layer", columns="predictor", values="r_squared"
    )
    medians = in_common(others.loc[fits.index], [*map(str, others.columns)]).median()
    beside = [f"{words} {medians[one]:.3f}" for one, words in BESIDE.items() if one in medians]
    if RANDOM in medians:
        rows = table.loc[table["predictor"] == RANDOM, "rows"].max()
        beside[-1] += f" ({counted(int(rows), 'token')} of {int(fits['rows'].max()):,})"
    lines.append(f"for comparison, in the median layer: {', '.join(beside)}")
    if fits["half_rank"].notna().any():
        lines.append(_ranks(fits["half_rank"]))
    return with_minus_signs("\n  ".join([title, *lines])) + "\n"


def _ranks(half: pd.Series) -> str:
    """Return the number of dimensions that half of the full R² takes, in words."""
    known = half.dropna().astype(int)
    more = f", more than {HIGHEST} in {len(half) - len(known)}" * (len(known) < len(half))
    return (
        f"half of this R² takes {known.median():.0f} of the vector's dimensions (median over "
        f"{counted(len(known), 'layer')}), {known.min()} in layer {known.idxmin()} to "
        f"{known.max()} in layer {known.idxmax()}{more}"
    )
