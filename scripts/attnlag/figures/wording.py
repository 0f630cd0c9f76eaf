"""Wording shared by the titles and footnotes of several figures."""

import pandas as pd

from attnlag.errors import counted
from attnlag.escaping import text_for
from attnlag.figures.sampling import MAX_SAMPLED
from attnlag.regression.covariances import label_of
from attnlag.regression.labels import correction_text

PREDICTIVE = "Same-layer coefficients are predictive associations, not causes."


def shortened(name: str, longest: int = 22) -> str:
    """Return a name of the data for a figure, cut off at a number of characters."""
    line = text_for("line", name)
    return text_for("figure", line if len(line) <= longest else f"{line[: longest - 1]}…")


def tokens_shown(tokens: int) -> str:
    """Return the tokens that a figure is made from, in words."""
    return "all tokens" if tokens <= MAX_SAMPLED else f"a sample of {MAX_SAMPLED:,} tokens"


def sample_shown(count: int, unit: str) -> str:
    """Return a sentence for a figure that shows a sample, otherwise an empty string."""
    return (
        f"Shown: a sample of {MAX_SAMPLED:,} of {count:,} {unit}. " if count > MAX_SAMPLED else ""
    )


def inference_text(table: pd.DataFrame, adjust: str, over: str = "the layers") -> str:
    """Return the standard errors of a tidy table and the correction of its p-values."""
    errors = label_of(table["vcov_type"].iloc[0])
    return f"Standard errors: {errors}; {correction_text(adjust, over)}."


def rows_in_words(
    table: pd.DataFrame, rows: str = "n_obs", documents: str = "n_documents", unit: str = "row"
) -> str:
    """Return the numbers of rows and documents of the layer with the most rows."""
    most = table[[rows, documents]].max()
    return f"{counted(int(most[rows]), unit)} from {counted(int(most[documents]), 'document')}"


def tokens_in_words(table: pd.DataFrame) -> str:
    """Return the numbers of tokens and documents of the layer with the most tokens."""
    return rows_in_words(table, "tokens", "documents", "token")
