"""Wording shared by the titles and footnotes of several figures."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from attnlag.escaping import text_for
from attnlag.figures.inputs import Inputs
from attnlag.figures.sampling import MOST_ROWS
from attnlag.regression.labels import (
    COVARIANCE,
    correction_text,
    plural,
    spans,
    with_minus_signs,
)
from attnlag.regression.terms import named

PREDICTIVE = "Same-layer coefficients are predictive associations, not causes."

# Largest number of fits whose sizes a title states individually.
MOST_SIZES = 3

# A smaller sum of partial autocorrelations is called little.
LITTLE_LEFT = 0.05


def sizes_in_words(term: str, estimates: Mapping[str, pd.Series]) -> str | None:
    """Return the median and the range over the layers of one coefficient in several fits, by name.

    With more than `MOST_SIZES` fits, only the smallest and the largest median are stated; None if
    no layer has an estimate.
    """
    known = {name: values.dropna() for name, values in estimates.items()}
    known = {name: values for name, values in known.items() if len(values)}
    if not known:
        return None
    medians = {name: float(values.median()) for name, values in known.items()}
    if len(known) <= MOST_SIZES:
        parts = [
            f"{name} {medians[name]:.2f} ({values.min():.2f} to {values.max():.2f})"
            for name, values in known.items()
        ]
        text = f"{named(term).capitalize()}, median (range) over the layers: {', '.join(parts)}"
        return with_minus_signs(text)
    least, most = min(medians, key=medians.__getitem__), max(medians, key=medians.__getitem__)
    return with_minus_signs(
        f"{named(term).capitalize()}, median over the layers: {medians[least]:.2f} ({least}) to "
        f"{medians[most]:.2f} ({most})"
    )


def order_in_words(lags: Sequence[int], layers: Sequence[int], left: np.ndarray) -> str:
    """Return the order that the lags of a regression leave in its residuals, in words.

    ``left`` has, by layer, the sum of the partial autocorrelations of the residuals at lags that
    are not in the regression; NaN without a fit.
    """
    if not np.isfinite(left).any():
        return "No layer was fitted, so there are no residuals"
    median, most = np.nanmedian(left), int(np.nanargmax(np.abs(left)))
    start = (
        "Order is left in the residuals" if abs(median) >= LITTLE_LEFT else "Little order is left"
    )
    return (
        f"{start}: partial autocorrelations at {spans(lags)} add up to {median:.2f} in the median "
        f"layer and {left[most]:.2f} in layer {layers[most]} (0 if the lags sufficed)"
    )


def shortened(name: str, longest: int = 22) -> str:
    """Return a name of the data for a figure, cut off at a number of characters."""
    line = text_for("line", name)
    return text_for("figure", line if len(line) <= longest else f"{line[: longest - 1]}…")


def tokens_shown(tokens: int) -> str:
    """Return the tokens that a figure is made from, in words."""
    return "all tokens" if tokens <= MOST_ROWS else f"a sample of {MOST_ROWS:,} tokens"


def sample_shown(count: int, what: str) -> str:
    """Return a sentence for a figure that shows a sample, otherwise an empty string."""
    return f"Shown: a sample of {MOST_ROWS:,} of {count:,} {what}. " if count > MOST_ROWS else ""


def inference_text(table: pd.DataFrame, adjust: str, over: str = "the layers") -> str:
    """Return the standard errors of a tidy table and the correction of its p-values."""
    errors = COVARIANCE[table["vcov_type"].iloc[0]]
    return f"Standard errors: {errors}; {correction_text(adjust, over)}."


def number(value: float) -> str:
    """Return a coefficient with two decimals, or three if it is small, and a minus sign."""
    shown = f"{value:.2f}" if abs(value) >= 0.095 or abs(value) < 0.0005 else f"{value:.3f}"
    return shown.replace("-0.00", "0.00").replace("-", "−")


def significant(value: float) -> str:
    """Return a positive number with two significant digits: ``2.7``, ``190``, ``0.097``."""
    return f"{float(f'{value:.2g}'):,g}"


def what_is_held_fixed(studies: Sequence[Inputs]) -> list[str]:
    """Return the name of each regression in words, with its own name only where it is needed."""
    words = []
    for study in studies:
        effects = study.regression
        name = "within documents" if effects["fixed_effects"] == "document" else "pooled"
        if effects.get("token_effects"):
            name += ", tokens held fixed"
        if study.outcome != "norm":
            name += f", {plural(study.outcome)}"
        words.append(name)
    names = [study.coefficients["regression"].iloc[0] for study in studies]
    return [
        word if words.count(word) == 1 else f"{word} ({shortened(name)})"
        for word, name in zip(words, names, strict=True)
    ]
