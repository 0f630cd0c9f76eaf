"""Findings of a comparison of models in words."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from attnlag.claims.numbers import number
from attnlag.errors import counted
from attnlag.regression.across_models import replication
from attnlag.regression.terms import named
from attnlag.report.wording import titled


def comparison_findings(pairs: pd.DataFrame, equivalence_bound: float) -> str:
    """Return how models differ, pair by pair, as text; a difference up to the bound is none."""
    if pairs.empty:
        return "comparison: there is one model, so there are no pairs of models\n"
    return "".join(
        titled(
            f"comparison of models over relative depth, {name}:",
            [_pair_finding(row, equivalence_bound) for row in rows.itertuples()],
        )
        for name, rows in pairs.groupby("regression", sort=False)
    )


def replication_findings(verdicts: pd.DataFrame, models: Sequence[str]) -> str:
    """Return what holds in all of several models, in some and in none, given their verdicts.

    Verdicts on other models, which are controls, do not count.
    """
    if len(models) < 2:
        return ""
    verdicts = verdicts[verdicts["model"].isin(models)]
    several_sites = verdicts["site"].nunique() > 1
    every = f"holds in each of {len(models)} models" + " and each site" * several_sites
    some, none = "holds in some only", "is shown in none"
    text = ""
    for regression, rows in verdicts.groupby("regression", sort=False):
        claims: dict[str, list[str]] = {every: [], some: [], none: []}
        for claim, of_claim in rows.groupby("claim", sort=False):
            holding = of_claim[of_claim["verdict"] == replication.HOLDS]
            kind = every if len(holding) == len(of_claim) else some if len(holding) else none
            unknown = sorted({*rows["model"].astype(str)} - {*of_claim["model"].astype(str)})
            said = str(claim) + f" (not known in {', '.join(unknown)})" * bool(unknown)
            if kind == some:
                where = holding["model"] + (", " + holding["site"] if several_sites else "")
                said += f" ({'; '.join(where)})"
            claims[kind].append(said)
        lines = [f"{kind}: {'; '.join(texts)}" for kind, texts in claims.items() if texts]
        text += titled(f"what holds in {regression}:", lines)
    return text


def _pair_finding(row: Any, equivalence_bound: float) -> str:
    dropped = row.documents_only_a + row.documents_only_b
    note = f"; {counted(dropped, 'document')} with rows in one model only left out"
    differ = ""
    if row.layers_compared:
        differ = (
            f"; they are shown to differ by more than {equivalence_bound:g} in "
            f"{row.layers_differing} of {counted(row.layers_compared, 'layer')} and by less in "
            f"{row.layers_alike}, "
            f"{row.median_difference:+.2f} in the median layer"
        )
    return (
        f"{named(row.term)}, {row.site}, {row.corpus}: median {number(row.median_a)} in "
        f"{row.model_a}, {number(row.median_b)} in {row.model_b}{differ}{note * bool(dropped)}"
    )
