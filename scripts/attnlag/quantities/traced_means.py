"""Means over tokens of what adjustments are written by and of what they say."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.quantities import traced_tables
from attnlag.quantities.means import RatioSums
from attnlag.quantities.traced_tables import SOURCE_CLASSES, TARGETS
from attnlag.storage import tables

# The rows of effects on the next token less those on the token itself.
NEXT_LESS_OWN = "next_less_own"

SOURCE_NAMES = [*SOURCE_CLASSES, "bias", "effective"]


def read_numbers(paths: Sequence[Path]) -> Any:
    """Return the rows of all shards but their lists, documents as categories; None without shards.

    They are a pandas.DataFrame.
    """
    if not paths:
        return None
    names = [name for name in pq.read_schema(paths[0]).names if name not in traced_tables.LISTS]
    return tables.read_shards(paths, names).to_pandas()


def means_by_layer(
    rows: pd.DataFrame, values: pd.DataFrame, first: int, alpha: float
) -> pd.DataFrame:
    """Return the mean of each column of values of rows by layer, from position ``first`` on.

    Intervals, and p-values of a mean of zero, are clustered by document.
    """
    values = values[rows["position"] >= first].astype(float)
    values = values.where(np.isfinite(values))
    by_document = values.groupby([rows["document"], rows["layer"]], observed=True)
    sums = by_document.sum().unstack("layer", fill_value=0)
    counts = by_document.count().unstack("layer", fill_value=0)
    ratios = RatioSums.of(sums.to_numpy(), counts.to_numpy())
    table = pd.DataFrame(ratios.columns(alpha), index=sums.columns)
    medians = pd.Series(values.groupby(rows["layer"]).median().unstack())
    table.insert(5, "median", medians)
    table["p_value"] = ratios.p_value
    return table


def _means_beside(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    values_of: Callable[[pd.DataFrame], pd.DataFrame],
    *bounds: Any,
) -> pd.DataFrame:
    """Return `means_by_layer` of the values of rows, beside the mean with ``untrained``."""
    table = means_by_layer(rows, values_of(rows), *bounds).assign(untrained=np.nan)
    if random is not None:
        table["untrained"] = means_by_layer(random, values_of(random), *bounds)["mean"]
    return table


def _rows_by_layer(means: pd.DataFrame, key: str) -> pd.DataFrame:
    """Return means as rows in the order of layers, with the name of each value under ``key``."""
    table = means.rename_axis([key, "layer"]).reset_index()
    table.insert(0, "layer", table.pop("layer"))
    return table.sort_values("layer", kind="stable", ignore_index=True)


def shares(
    rows: pd.DataFrame, random: pd.DataFrame | None, drop_first: int, alpha: float
) -> pd.DataFrame:
    """Return the share of each source of each layer, and the effective number of sources.

    Beside it are the mean ``attention`` to the source and the mean share with ``untrained``.
    """
    table = _means_beside(rows, random, lambda rows: rows[SOURCE_NAMES], drop_first, alpha)
    # No share is zero.
    table = table.drop(columns="p_value")
    attention = rows[[f"attention_{name}" for name in SOURCE_CLASSES]].set_axis(
        SOURCE_CLASSES, axis=1
    )
    mean = means_by_layer(rows, attention, drop_first, alpha)["mean"]
    table.insert(len(table.columns) - 1, "attention", mean)
    return _rows_by_layer(table, "source")


def readout(
    rows: pd.DataFrame, random: pd.DataFrame | None, drop_first: int, alpha: float
) -> pd.DataFrame:
    """Return the effect on each target by layer, less that on the target of another place.

    The rows `NEXT_LESS_OWN` have how far the effect on the next token exceeds that on the token
    itself, with an interval and a p-value of its own.
    """

    def differences(rows: pd.DataFrame) -> pd.DataFrame:
        found = {name: rows[name] - rows[f"{name}_control"] for name in TARGETS}
        return pd.DataFrame(found | {NEXT_LESS_OWN: found["next"] - found["own"]})

    table = _means_beside(rows, random, differences, drop_first, alpha)
    table = table.rename(columns={"mean": "difference"})
    comparable = differences(rows)[[*TARGETS]].notna()
    for column, ending in (("mean", ""), ("control", "_control")):
        effects = rows[[f"{name}{ending}" for name in TARGETS]].set_axis([*TARGETS], axis=1)
        means = means_by_layer(rows, effects.where(comparable), drop_first, alpha)
        table[column] = means["mean"]
    order = ["mean", "control", "difference", "std_error", "p_value", "conf_low", "conf_high"]
    order += ["level", "untrained", "tokens", "documents"]
    return _rows_by_layer(table[order], "target")
