"""Claims about the tokens that write adjustments, and about what adjustments say."""

import numpy as np
import pandas as pd

from attnlag.claims.row import Row, Verdict
from attnlag.quantities.traced_means import NEXT_LESS_OWN

# Sources whose shares are shown, or summed, with what they are called.
WRITERS = {
    ("self",): "the token itself",
    ("previous_1",): "the token before",
    ("first",): "the first token",
    ("previous_2", "previous_3", "previous_4"): "2 to 4 tokens before",
    ("rest", "bias"): "all others",
}

# Vocabulary tokens on which effects are measured.
TARGETS = {
    "own": "the token itself",
    "next": "the next token",
    "top1": "the model's first choice",
}


def shares(table: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return mean shares by writer and layer; only a single source has an interval."""
    by_writer = {}
    for sources, label in WRITERS.items():
        rows = table[table["source"].isin(sources)].groupby("layer")
        by_writer[label] = rows[["mean", "conf_low", "conf_high"]].sum(min_count=1)
        if len(sources) > 1:
            by_writer[label][["conf_low", "conf_high"]] = np.nan
    return by_writer


def next_token(effects: pd.DataFrame, alpha: float) -> Row:
    """Return in how many layers the next token is raised more than the token itself, or less.

    The p-values are corrected over the layers; ``effects`` are those of one site.
    """
    rows = effects[effects["target"] == NEXT_LESS_OWN].dropna(subset="difference")
    differs = rows["p_adjusted"] < alpha
    verdict = Verdict.NONE
    if rows["p_adjusted"].isna().all():
        verdict = Verdict.TOO_FEW_TEXTS
    above = int((differs & (rows["difference"] > 0)).sum())
    below = int((differs & (rows["difference"] < 0)).sum())
    return Row(
        claim="next_token",
        subject=str(effects["site"].iloc[0]),
        value=float(rows["difference"].median()),
        bound=0.0,
        layers=len(rows),
        above=above,
        below=below,
        undecided=len(rows) - above - below,
        verdict=verdict,
    )


def previous_token(table: pd.DataFrame, statistic: str = "mean") -> tuple[Row, Row]:
    """Return how much of adjustments the token before writes: the median layer, and the most.

    The shares are means, or medians, over tokens.
    """
    shares = table[table["source"] == "previous_1"].set_index("layer")[statistic]
    median = Row(
        claim="written_by_previous",
        subject="median layer",
        value=float(shares.median()),
        layers=len(shares),
        table="shares",
    )
    most = Row(
        claim="written_by_previous",
        subject=f"layer {shares.idxmax()}",
        value=float(shares.max()),
        table="shares",
    )
    return median, most
