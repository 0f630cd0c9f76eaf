"""Means over tokens of what adjustments are written by and of what they say, and their lags."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import traced_tables
from attnlag.quantities.columns import KEYS, layer_name
from attnlag.quantities.traced_tables import SOURCE_CLASSES, TARGETS, WRITTEN
from attnlag.regression.beyond.heads import WHOLE
from attnlag.regression.beyond.lags_of_heads import table_of_parts
from attnlag.regression.estimation import crossproducts, merging, regress
from attnlag.regression.estimation.clustered import RatioSums
from attnlag.regression.estimation.least_squares import names_of
from attnlag.regression.inference import controls
from attnlag.regression.settings import HeadsSettings

# The parts of a layer whose lags stand beside each other, with the columns of their norms.
NORMS = {WHOLE: "norm", **WRITTEN}

# Sources of an adjustment, in the order of their rows.
# The rows of effects on the next token less those on the token itself.
NEXT_LESS_OWN = "next_less_own"

SOURCE_NAMES = [*SOURCE_CLASSES, "bias", "effective"]

LAG_COLUMNS = [
    *("subset", "layer", "part", "term", "estimate", "uncorrected", "std_error", "df"),
    *("statistic", "p_value", "p_adjusted", "conf_low", "conf_high", "finding", "vcov_type"),
    "random_weights",
]


def read_shards(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of all shards, with documents as categories."""
    names = [n for n in pq.read_schema(paths[0]).names if n not in traced_tables.LISTS]
    tables = [pq.read_table(path, columns=names).replace_schema_metadata() for path in paths]
    return pa.concat_tables(tables).unify_dictionaries().to_pandas()


def means_by_layer(
    rows: pd.DataFrame, values: pd.DataFrame, first: int, alpha: float
) -> pd.DataFrame:
    """Return the mean of each column of values by layer, from position ``first`` on.

    ``values`` belong to the rows. Intervals are clustered by document.
    """
    values = values[rows["position"] >= first].astype(float)
    values = values.where(np.isfinite(values))
    by_document = values.groupby([rows["document"], rows["layer"]], observed=True)
    sums, counts = (
        sums_of.unstack("layer", fill_value=0)
        for sums_of in (by_document.sum(), by_document.count())
    )
    ratios = RatioSums.of(sums.to_numpy(), counts.to_numpy())
    table = pd.DataFrame(ratios.columns(alpha), index=sums.columns)
    medians = pd.Series(values.groupby(rows["layer"]).median().unstack())
    table.insert(4, "median", medians)
    return table


def _means_beside(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    values_of: Callable[[pd.DataFrame], pd.DataFrame],
    first: int,
    alpha: float,
) -> pd.DataFrame:
    """Return `means_by_layer` of the values of rows, beside the mean with ``random_weights``."""
    table = means_by_layer(rows, values_of(rows), first, alpha).assign(random_weights=np.nan)
    if random is not None:
        untrained = means_by_layer(random, values_of(random), first, alpha)
        table["random_weights"] = untrained["mean"]
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

    Beside it are the mean ``attention`` to the source and the mean share with ``random_weights``.
    """
    table = _means_beside(rows, random, lambda rows: rows[SOURCE_NAMES], drop_first, alpha)
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
    itself, with an interval of its own.
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
    order = ["mean", "control", "difference", "std_error", "conf_low", "conf_high"]
    order += ["random_weights", "tokens", "documents"]
    return _rows_by_layer(table[order], "target")


def next_ahead(effects: pd.DataFrame) -> tuple[int, int, int]:
    """Return in how many layers the next token is raised more than the token itself, by intervals.

    The second number is of the layers in which it is raised less, the third of all.
    """
    rows = effects[effects["target"] == NEXT_LESS_OWN].dropna(subset="difference")
    return int((rows["conf_low"] > 0).sum()), int((rows["conf_high"] < 0).sum()), len(rows)


def fit_lags(
    rows: pd.DataFrame, random: pd.DataFrame | None, settings: HeadsSettings
) -> pd.DataFrame:
    """Return the coefficients of the log norms of adjustments, and of what tokens write.

    All layers and parts (`NORMS`) are fitted with the same terms. The table is that of
    `table_of_parts`; ``random_weights`` is not corrected for bias, as ``uncorrected``.
    """
    design = settings.design
    assert design is not None
    settings = settings.from_sums().changed(cluster="document")
    layers = sorted(map(int, rows["layer"].unique()))
    cells = [(layer, part) for part in NORMS for layer in layers]

    def shard_of(tokens: pd.DataFrame, halves: int) -> crossproducts.Shard:
        wide = tokens.pivot(index=KEYS, columns="layer", values=list(NORMS.values()))
        # Sequences in their order, which the index of a pivot loses.
        keys = tokens.drop_duplicates(KEYS)[KEYS]
        wide = wide.reindex(pd.MultiIndex.from_frame(keys))
        table = pa.Table.from_pandas(keys, preserve_index=False)
        for place, (layer, part) in enumerate(cells):
            values = wide[NORMS[part], layer].to_numpy(dtype=np.float32)
            table = table.append_column(layer_name(place), pa.array(values))
        names = [layer_name(place) for place in range(len(cells))]
        return controls.shard_of_batches(table.to_batches(), names, design, {}, halves)

    stack = merging.stack_of([shard_of(rows, 2 if settings.halves else 1)], settings)
    fits = regress.fit(stack, settings.covariance, folds=None)
    table = table_of_parts(fits, stack, cells, settings)
    table["random_weights"] = np.nan
    if random is not None and len(random):
        untrained, _, _ = controls.fitted_alone([shard_of(random, 1)], settings)
        keys = pd.MultiIndex.from_product([range(len(cells)), names_of(stack)])
        estimates = untrained.set_index(["layer", "term"])["estimate"]
        table["random_weights"] = estimates.reindex(keys).to_numpy()
    return table[LAG_COLUMNS]
