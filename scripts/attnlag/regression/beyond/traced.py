"""Means over tokens of what adjustments are written by and of what they say, and their lags."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments import traced_tables
from attnlag.adjustments.columns import KEYS, layer_name
from attnlag.adjustments.traced_tables import CLASSES, TARGETS, WRITTEN
from attnlag.regression.beyond.heads import WHOLE
from attnlag.regression.estimation import crossproducts, merging, regress
from attnlag.regression.estimation.clustered import RatioSums
from attnlag.regression.inference import controls, results
from attnlag.regression.settings import HeadsSettings

# The parts of a layer whose lags stand beside each other, and the columns of their norms.
PARTS = {WHOLE: "norm", **WRITTEN}

# Sources of an adjustment, and parts of the cosine, in the order of their rows.
SOURCES = (*CLASSES, "bias", "effective")
PAIRS = ("all", *traced_tables.PAIRS)

OF_LAGS = ["subset", "layer", "part", "term", "estimate", "uncorrected", "std_error", "df"]
OF_LAGS += ["statistic", "p_value", "p_adjusted", "conf_low", "conf_high", "finding", "vcov_type"]
OF_LAGS += ["random_weights"]

OF_MEANS = ["mean", "std_error", "conf_low", "conf_high"]


def read(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the rows of all shards, with documents as categories."""
    tables = [pq.read_table(path) for path in paths]
    drop = [name for name in traced_tables.LISTS if name in tables[0].column_names]
    tables = [table.drop_columns(drop).replace_schema_metadata() for table in tables]
    return pa.concat_tables(tables).unify_dictionaries().to_pandas()


def means(
    rows: pd.DataFrame, values: Mapping[str, Callable[[pd.DataFrame], pd.Series]], alpha: float
) -> pd.DataFrame:
    """Return the mean of some values by layer and name, with intervals clustered by document."""
    rows_of_table = []
    for layer, of_layer in rows.groupby("layer"):
        document = of_layer["document"].cat.codes.to_numpy()
        for name, value in values.items():
            values_of_rows = value(of_layer).to_numpy(dtype=float)
            sums = RatioSums.of_rows(values_of_rows, document)
            numbers = map(float, (sums.mean, sums.std_error, *sums.interval(alpha)))
            median = np.nan
            if not np.isnan(values_of_rows).all():
                median = np.nanmedian(values_of_rows)
            rows_of_table.append(
                (layer, name, *numbers, median, int(sums.rows), int(sums.clusters))
            )
    names = ["layer", "name", *OF_MEANS, "median", "tokens", "documents"]
    return pd.DataFrame(rows_of_table, columns=names).set_index(["layer", "name"])


def _means_beside(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    values: Mapping[str, Callable[[pd.DataFrame], pd.Series]],
    first: int,
    alpha: float,
) -> pd.DataFrame:
    """Return the means from a position on, beside those with ``random_weights``."""
    table = means(rows[rows["position"] >= first], values, alpha)
    table["random_weights"] = np.nan
    if random is not None:
        untrained = means(random[random["position"] >= first], values, alpha)
        table["random_weights"] = untrained["mean"].reindex(table.index)
    return table


def column(name: str) -> Callable[[pd.DataFrame], pd.Series]:
    """Return the function that returns a column of rows."""
    return lambda rows: rows[name]


def _as_table(by_name: pd.DataFrame, names: Sequence[str], key: str) -> pd.DataFrame:
    """Return rows by layer and name in the order of the names."""
    kind = pd.CategoricalDtype(list(names), ordered=True)
    table = by_name.reset_index().rename(columns={"name": key}).astype({key: kind})
    return table.sort_values(["layer", key], ignore_index=True).astype({key: str})


def shares(
    rows: pd.DataFrame, random: pd.DataFrame | None, drop_first: int, alpha: float
) -> pd.DataFrame:
    """Return the share of each source of each layer, and the effective number of sources.

    Beside it are the mean ``attention`` to the source and the mean share with ``random_weights``.
    """
    shares_of = {name: column(name) for name in SOURCES}
    table = _means_beside(rows, random, shares_of, drop_first, alpha)
    attention = {
        name: column(f"attention_{name}") for name in SOURCES if f"attention_{name}" in rows
    }
    of_attention = means(rows[rows["position"] >= drop_first], attention, alpha)["mean"]
    table.insert(len(table.columns) - 1, "attention", of_attention.reindex(table.index))
    return _as_table(table, SOURCES, "source")


def neighbours(
    rows: pd.DataFrame,
    random: pd.DataFrame | None,
    pairs: Mapping[tuple[int, str], float],
    drop_first: int,
    alpha: float,
) -> pd.DataFrame:
    """Return the parts of the cosine with the adjustment of the token before, by layer."""
    cosines = {name: column("cosine" if name == "all" else f"cosine_{name}") for name in PAIRS}
    table = _means_beside(rows, random, cosines, drop_first + 1, alpha)
    of_pairs = [pairs.get(key, np.nan) for key in table.index]
    table.insert(len(table.columns) - 1, "random_pairs", of_pairs)
    return _as_table(table.drop(columns="median"), PAIRS, "part")


def readout(
    rows: pd.DataFrame, random: pd.DataFrame | None, drop_first: int, alpha: float
) -> pd.DataFrame:
    """Return the effect on each target by layer, less that on the target of another place."""

    def difference(name: str) -> Callable[[pd.DataFrame], pd.Series]:
        return lambda rows: rows[name] - rows[f"{name}_control"]

    def both(name: str, own: str) -> Callable[[pd.DataFrame], pd.Series]:
        return lambda rows: rows[own].where(difference(name)(rows).notna())

    kept = rows[rows["position"] >= drop_first]
    differences = {name: difference(name) for name in TARGETS}
    table = _means_beside(rows, random, differences, drop_first, alpha)
    table = table.rename(columns={"mean": "difference"})
    for column_name, ending in (("mean", ""), ("control", "_control")):
        both_known = {name: both(name, f"{name}{ending}") for name in TARGETS}
        table[column_name] = means(kept, both_known, alpha)["mean"]
    order = ["mean", "control", "difference", *OF_MEANS[1:], "random_weights"]
    return _as_table(table[[*order, "tokens", "documents"]], TARGETS, "target")


def next_ahead(effects: pd.DataFrame) -> tuple[pd.Series, int | None]:
    """Return where adjustments raise the next token more than their own, by layer.

    The second value is the first layer from which on they do in all, or None.
    """
    by_target = effects.pivot(index="layer", columns="target", values="difference")
    ahead = by_target["next"] > by_target["own"]
    lasting = by_target.index[ahead[::-1].cummin()[::-1]]
    return ahead, lasting[0] if len(lasting) else None


def lags(rows: pd.DataFrame, random: pd.DataFrame | None, settings: HeadsSettings) -> pd.DataFrame:
    """Return the coefficients of the log norms of adjustments, and of what tokens write.

    All layers and `PARTS` are fitted with the same terms.

    Returns
    -------
    table : pandas.DataFrame
        As from `results.coefficients_table`, with the ``part`` of each layer; ``random_weights`` is
        not corrected for bias, as ``uncorrected``.
    """
    design = settings.design
    assert design is not None
    settings = settings.from_sums().changed(cluster="document")
    layers = sorted(map(int, rows["layer"].unique()))
    cells = [(layer, part) for part in PARTS for layer in layers]

    def shard_of(tokens: pd.DataFrame, halves: int) -> crossproducts.Shard:
        wide = tokens.pivot(index=KEYS, columns="layer", values=list(PARTS.values()))
        # Sequences in their order, which the index of a pivot loses.
        keys = tokens.drop_duplicates(KEYS)[KEYS]
        wide = wide.reindex(pd.MultiIndex.from_frame(keys))
        table = pa.Table.from_pandas(keys, preserve_index=False)
        for place, (layer, part) in enumerate(cells):
            values = wide[PARTS[part], layer].to_numpy(dtype=np.float32)
            table = table.append_column(layer_name(place), pa.array(values))
        names = [layer_name(place) for place in range(len(cells))]
        return controls.shard_of_batches(table.to_batches(), names, design, {}, halves)

    stack = merging.stack_of([shard_of(rows, 2 if settings.halves else 1)], settings)
    fits = regress.fit(stack, settings.covariance, folds=None)
    of_all = replace(stack, layers=list(range(len(fits))))
    table = results.coefficients_table(fits, of_all, settings)
    table["random_weights"] = np.nan
    if random is not None and len(random):
        untrained, _, _ = controls.fitted_alone([shard_of(random, 1)], settings)
        beside = untrained.set_index(["layer", "term"])["estimate"]
        keys = pd.MultiIndex.from_frame(table[["layer", "term"]])
        table["random_weights"] = beside.reindex(keys).to_numpy()
    places = table["layer"].to_numpy(dtype=int)
    table["layer"] = [cells[place][0] for place in places]
    table.insert(1, "part", [cells[place][1] for place in places])
    return table[OF_LAGS]
