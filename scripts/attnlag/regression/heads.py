"""Regressions of the norms of attention heads, and of layers without the tokens at their floor.

Each head has a regression of its own. All regressions are within documents and have two lags.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from attnlag.adjustments.columns import KEYS, layer_name, layer_number, layers_in
from attnlag.regression import controls, crossproducts, inference, least_squares
from attnlag.regression.settings import DesignSettings

# A token is at the floor of its layer if the vector of its heads' norms is within this relative
# distance of that of the first token of its sequence. The first token attends only to itself. If
# all heads of a token attend to the first token, they write the same vectors as there.
FLOOR = 0.1

# Regressed besides the heads: the adjustment, for all tokens and for those above the floor.
WHOLE, ABOVE = "all", "above floor"


def at_floor(of_heads: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Return whether tokens have the norms of the first token of their sequence, (tokens,) bool.

    Parameters
    ----------
    of_heads : (tokens, heads) float array
        Norms of the heads of consecutive whole sequences.
    position : (tokens,) int array
        Position in the sequence, from 0.
    """
    first = np.maximum.accumulate(np.where(position == 0, np.arange(len(position)), 0))
    apart = np.linalg.norm(of_heads - of_heads[first], axis=1)
    return (position > 0) & (apart <= FLOOR * np.linalg.norm(of_heads[first], axis=1))


def table(
    heads: Sequence[Path], norms: Sequence[Path], *, drop_first: int, alpha: float
) -> pd.DataFrame:
    """Return a row for each head of each layer, and two for each layer.

    One layer of one shard is in memory at a time.

    Parameters
    ----------
    heads, norms : sequence of Path
        Files of all shards: the norms of heads, and of the adjustments.
    drop_first : int
        Tokens at the start of every sequence that are neither an outcome nor a predictor.
    alpha : float
        Intervals cover 1 - ``alpha``.

    Returns
    -------
    table : pandas.DataFrame
        ``layer``; ``part``, a head's number, "all" or "above floor"; ``share`` of the squared norms
        of heads; ``coherence``, the mean of |a|² / Σ |a_h|², and ``at_floor``, the share of tokens
        there, both of "all"; ``lag_1`` within documents, its error and interval (CRV1); ``rows``.
    """
    found = [
        _of_layer(name, heads, norms, drop_first, alpha)
        for name in layers_in(pq.read_schema(heads[0]))
    ]
    names = ["layer", "part", "share", "coherence", "at_floor"]
    names += ["lag_1", "std_error", "conf_low", "conf_high", "rows"]
    rows = [row for layer in found for row in layer]
    return pd.DataFrame(rows, columns=names)


def _of_layer(
    name: str, heads: Sequence[Path], norms: Sequence[Path], drop_first: int, alpha: float
) -> list[tuple[object, ...]]:
    """Return the rows of one layer."""
    settings = DesignSettings((1, 2), (), (), None, drop_first, None, "norm")
    shards, energy, ratios, tokens, at = [], 0.0, 0.0, 0, 0
    columns: list[str] = []
    for path, other in zip(heads, norms, strict=True):
        keys, of_heads, whole = _read(path, other, name)
        position = keys["position"].to_numpy()
        floor = at_floor(of_heads, position)
        values = [*of_heads.T, whole, np.where(floor, np.nan, whole)]
        columns = [layer_name(place) for place in range(len(values))]
        whole_table = pa.table([*keys.columns, *map(pa.array, values)], names=[*KEYS, *columns])
        batches = whole_table.to_batches()
        shards.append(controls.shard_of_batches(batches, columns, settings, {}, 1))
        kept = position >= drop_first
        squares = of_heads[kept].astype(np.float64) ** 2
        energy = energy + squares.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            ratios += np.nansum(whole[kept].astype(np.float64) ** 2 / squares.sum(axis=1))
        tokens += int(kept.sum())
        at += int(floor[kept].sum())
    stack = crossproducts.stacked(shards, fixed_effects=True)
    fits = inference.fit(stack, "cluster", 2)
    place = least_squares.names_of(stack).index("lag_1")
    parts = [*map(str, range(len(columns) - 2)), WHOLE, ABOVE]
    shares = [*(np.asarray(energy) / (np.sum(energy) or np.nan)), 1.0, np.nan]
    rows: list[tuple[object, ...]] = []
    for part, share, fit in zip(parts, shares, fits, strict=True):
        estimate, error, reach = np.nan, np.nan, np.nan
        if fit.status == "ok":
            estimate = float(fit.estimate[place])
            error = float(np.sqrt(fit.covariance[place, place]))
            reach = float(stats.t.ppf(1 - alpha / 2, fit.df)) * error
        of_all = (ratios / tokens, at / tokens) if part == WHOLE and tokens else (np.nan, np.nan)
        low, high = estimate - reach, estimate + reach
        rows.append(
            (layer_number(name), part, share, *of_all, estimate, error, low, high, fit.n_obs)
        )
    return rows


def _read(heads: Path, norms: Path, name: str) -> tuple[pa.Table, np.ndarray, np.ndarray]:
    """Return the keys of a shard, one layer's norms of heads, (tokens, heads), and its norms."""
    found = pq.read_table(heads, columns=[*KEYS, name]).unify_dictionaries().combine_chunks()
    column = found[name].combine_chunks()
    of_heads = column.flatten().to_numpy().reshape(len(found), column.type.list_size)
    return found.select(KEYS), of_heads, pq.read_table(norms, columns=[name])[name].to_numpy()
