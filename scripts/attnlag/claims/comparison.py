"""Claims about several models: how they differ, and what holds in each of them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pandas as pd

from attnlag.claims.row import STUDY, Row, Verdict, frame, verdict_of
from attnlag.regression.across_models import replication

COMPARISON = "comparison"


def claims_of_comparison(
    pairs: pd.DataFrame, held: pd.DataFrame, models: Sequence[str], settings: dict[str, Any]
) -> pd.DataFrame:
    """Return the claims about models as a table of `frame`.

    Parameters
    ----------
    pairs : DataFrame
        The table ``comparison/pairs``: a row per pair of models, site, corpus and term.
    held : DataFrame
        The table ``comparison/claims``: whether a claim holds in a model.
    models : sequence of str
        The models that were compared; others are controls.
    settings : dict
        Those of the regressions, which are common to all.
    """
    tables = [frame([], **dict.fromkeys(STUDY, ""))]
    for row in pairs.itertuples():
        names = names_of(f"{row.model_a}, {row.model_b}", row)
        tables.append(frame([difference(row, settings)], **names))
    held = held[held["model"].isin(models)]
    for row in held.itertuples():
        tables.append(frame([holds(row)], **names_of(row.model, row)))
    if len(models) > 1:
        for regression, rows in held.groupby("regression", sort=False):
            study = {"model": "all models", "corpus": "", "site": ""}
            analysis = f"{COMPARISON}, {regression}"
            tables.append(frame(replicated(rows), **study, analysis=analysis))
    return pd.concat(tables, ignore_index=True)


def names_of(model: Any, row: Any) -> dict[str, str]:
    """Return what tells the claims of a row apart, as `STUDY` has it."""
    return {
        "model": str(model),
        "corpus": str(row.corpus),
        "site": str(row.site),
        "analysis": f"{COMPARISON}, {row.regression}",
    }


def difference(row: Any, settings: dict[str, Any]) -> Row:
    """Return how two models differ in a lag, in the layers at equal depths.

    The value is the difference in the median layer, the first model less the second, and the ends
    of the baseline are the medians of both. The baseline is the number of documents that one of the
    two lacks.
    """
    return Row(
        claim="models_differ",
        subject=f"{row.term}, {row.site}, {row.corpus}, {row.model_a}, {row.model_b}",
        value=float(row.median_difference),
        level=1 - settings["alpha"],
        bound=settings["equivalence_bound"],
        baseline="documents that one model lacks, and the median of each",
        baseline_value=float(row.documents_only_a + row.documents_only_b),
        baseline_low=float(row.median_a),
        baseline_high=float(row.median_b),
        layers=int(row.layers_compared),
        above=int(row.layers_differing),
        within=int(row.layers_alike),
        texts=int(row.documents),
        table="comparison/pairs",
    )


def holds(row: Any) -> Row:
    """Return whether a claim holds in a model: its value is then above zero."""
    low = float(row.conf_low)
    high = float(row.conf_high)
    return Row(
        claim="holds",
        subject=str(row.claim),
        value=float(row.value),
        low=low,
        high=high,
        level=float(row.level),
        bound=0.0,
        verdict=verdict_of(low, high, 0.0),
        table="comparison/claims",
    )


def replicated(held: pd.DataFrame) -> Iterator[Row]:
    """Yield in how many of the studies of a regression each claim is shown, and in which.

    The baseline names these; ``layers`` counts the studies in which the claim is known.
    """
    studies = held["model"] + ", " + held["site"] + ", " + held["corpus"]
    for claim, rows in held.groupby("claim", sort=False):
        shown = rows["verdict"] == replication.HOLDS
        fails = rows["verdict"] == replication.FAILS
        yield Row(
            claim="replicated",
            subject=str(claim),
            baseline="; ".join(studies[rows.index][shown]) or "none",
            layers=len(rows),
            above=int(shown.sum()),
            below=int(fails.sum()),
            undecided=int((~shown & ~fails).sum()),
            verdict=Verdict.NONE,
            table="comparison/claims",
        )
