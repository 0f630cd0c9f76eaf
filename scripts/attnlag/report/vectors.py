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
from attnlag.regression.labels import spans
from attnlag.report.wording import in_common, titled

CONTROLS_OF_VECTORS = {
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
        return titled(title, ["no layer has varying vectors in enough documents for its folds"])
    fits = of_vectors[of_vectors["rank"] == of_vectors["rank"].max()].set_index("layer")
    r_squared = fits["r_squared"]
    best = fits.loc[r_squared.idxmax()]
    interval = ""
    if pd.notna(best["conf_low"]):
        level = f"{100 * (1 - alpha):g}%"
        interval = f", {level} interval {best['conf_low']:.3f} to {best['conf_high']:.3f}"
    controls = table[table["predictor"] != VECTOR].pivot(
        index="layer", columns="predictor", values="r_squared"
    )
    medians = in_common(controls.loc[fits.index], list(controls.columns)).median()
    compared = [
        f"{words} {medians[control]:.3f}"
        for control, words in CONTROLS_OF_VECTORS.items()
        if control in medians
    ]
    if RANDOM in medians:
        rows = table.loc[table["predictor"] == RANDOM, "rows"].max()
        compared[-1] += f" ({counted(int(rows), 'token')} of {int(fits['rows'].max()):,})"
    lines = [
        f"a linear prediction of a token's vector from previous ones ({spans(lags)}) has an R² of "
        f"{r_squared.median():.3f} in the median layer, in "
        f"{counted(int(fits['documents'].max()), 'unseen document')}; "
        f"{r_squared.min():.3f} to {r_squared.max():.3f} over the layers "
        f"(highest in layer {best.name}{interval})",
        f"for comparison, in the median layer: {', '.join(compared)}",
    ]
    ranks = fits["half_rank"].dropna().astype(int)
    if len(ranks):
        beyond = len(fits) - len(ranks)
        more = f", more than {HIGHEST} in {beyond}" * bool(beyond)
        lines.append(
            f"half of this R² takes {ranks.median():.0f} of the vector's dimensions (median over "
            f"{counted(len(ranks), 'layer')}), {ranks.min()} in layer {ranks.idxmin()} to "
            f"{ranks.max()} in layer {ranks.idxmax()}{more}"
        )
    return titled(title, lines)
