"""Means of log norms by kind of token, of the documents on the page."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from attnlag.report.explorer.beyond import columns_of

# Fewest tokens of a kind that is shown, and the level of its interval.
FEWEST_TOKENS, LEVEL = 20, 0.95


def means(
    log_norms: np.ndarray,
    keys: pd.MultiIndex,
    kinds: Mapping[str, pd.Categorical],
    drop_first: int,
) -> dict[str, dict[str, list[Any]]]:
    """Return geometric means by layer and kind, over the layer's mean, largest first.

    Intervals are clustered by document, and ``chance`` is the mean if the tokens of each document
    were exchanged. ``log_norms`` are (layers, tokens), and ``keys`` those of the tokens, of which
    the first ``drop_first`` are left out.
    """
    documents = pd.factorize(keys.get_level_values("document"))[0]
    later = keys.get_level_values("position").to_numpy() >= drop_first
    return {
        name: columns_of(
            pd.concat(
                by_kind(logs, documents, kind, later).assign(layer=layer)
                for layer, logs in enumerate(log_norms)
            ),
            *("layer", "kind", "tokens", "ratio", "low", "high", "chance"),
        )
        for name, kind in kinds.items()
        if len(kind.categories) > 1
    }


def by_kind(
    logs: np.ndarray, documents: np.ndarray, kind: pd.Categorical, kept: np.ndarray
) -> pd.DataFrame:
    """Return the means of one layer, a row for each kind of enough tokens."""
    codes, kinds = kind.codes, len(kind.categories)
    used = kept & np.isfinite(logs) & (codes >= 0)
    shape = (kinds, documents.max(initial=-1) + 1)
    cell = codes[used].astype(np.int64) * shape[1] + documents[used]
    n, sums = (
        np.bincount(cell, weights, np.prod(shape)).reshape(shape) for weights in (None, logs[used])
    )
    rows, of_documents = n.sum(axis=0), sums.sum(axis=0)
    mean, clusters = of_documents.sum() / max(rows.sum(), 1), int((rows > 0).sum())
    tokens = n.sum(axis=1)
    shown = tokens >= FEWEST_TOKENS
    n, sums, tokens = n[shown], sums[shown], tokens[shown]
    of_kind = sums.sum(axis=1) / tokens
    # Influence of each document on the difference of the two means.
    errors = (sums - of_kind[:, None] * n) / tokens[:, None]
    errors -= (of_documents - mean * rows) / max(rows.sum(), 1)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = special.stdtrit(clusters - 1, 0.5 + LEVEL / 2) * np.sqrt(
            (errors**2).sum(axis=1) * clusters / (clusters - 1)
        )
        expected = np.where(rows > 0, of_documents / rows, 0.0)
    difference = of_kind - mean
    table = pd.DataFrame(
        {
            "kind": np.asarray(kind.categories)[shown].astype(str),
            "tokens": tokens.astype(int),
            "ratio": np.exp(difference),
            "low": np.exp(difference - half),
            "high": np.exp(difference + half),
            "chance": np.exp(n @ expected / tokens - mean),
        }
    )
    return table.sort_values("ratio", ascending=False, kind="stable")
