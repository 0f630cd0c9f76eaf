"""Means of the directions of adjustments by layer, beside random pairs and random weights."""

import json
from collections.abc import Container, Hashable, Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.quantities import centred
from attnlag.quantities.catalogue import OF_A_PASS, OUTCOMES, RELATIVE, STREAM_GROWTH
from attnlag.quantities.columns import PAIRS_KEY, layer_number, layers_in
from attnlag.quantities.means import RatioSums

# What a mean is of; distance 0 stands for a quantity that has none.
CELL = ["layer", "quantity", "distance"]

# Columns of files by distance, by the field of `RatioSums` that they are.
OF_DISTANCES = {"documents": "clusters", "pairs": "rows", "pairs_squared": "rows_squared"}
OF_DISTANCES |= {"total_pairs": "crossed"}


def sums_of_shard(
    geometry: Path, stream: Path, drop_first: int, documents: Container[str] | None = None
) -> pd.DataFrame:
    """Return `RatioSums` of each quantity of each layer, without the first tokens of sequences.

    One column is in memory at a time. ``documents`` are those that are used; None: all.
    """
    used, document, position = _used(geometry, drop_first, documents)
    rows = []

    def column(path: Path, name: str) -> np.ndarray:
        return pq.read_table(path, columns=[name])[name].to_numpy()[used].astype(np.float64)

    def add(layer: int, quantity: str, values: np.ndarray) -> None:
        distance = int(quantity == "cosine_previous")
        rows.append(_row(layer, quantity, distance, values, document))

    before: dict[int, np.ndarray] = {}
    for name in layers_in(pq.read_schema(stream)):
        layer = layer_number(name)
        received = column(stream, name)
        with np.errstate(divide="ignore", invalid="ignore"):
            if layer - 1 in before:
                add(layer - 1, STREAM_GROWTH, np.log(received / before[layer - 1]))
            for quantity in OF_A_PASS:
                values = column(geometry, f"{name}.{quantity}")
                # The tokens before, which such a value needs, are left out too.
                values[position < drop_first + OUTCOMES[quantity].first_position] = np.nan
                add(layer, quantity, values)
                if f"{quantity}_relative" in RELATIVE:
                    add(layer, f"{quantity}_relative", values / received)
        before = {layer: received}
    return pd.DataFrame(rows)


def _row(
    layer: int, quantity: str, distance: int, values: np.ndarray, document: np.ndarray
) -> dict[str, Any]:
    """Return the sums of a `CELL`."""
    cell = dict(zip(CELL, (layer, quantity, distance), strict=True))
    return cell | vars(RatioSums.from_rows(values, document))


def _used(
    path: Path, drop_first: int, documents: Container[str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return which rows of a file are used, and their documents, numbered, and positions."""
    keys = pq.read_table(path, columns=["document", "position"])
    keys = keys.unify_dictionaries().combine_chunks()
    position = keys["position"].to_numpy()
    used = position >= drop_first
    if documents is not None:
        used &= np.array([name in documents for name in keys["document"].to_pylist()], bool)
    document = keys["document"].combine_chunks().indices.to_numpy()
    return used, document[used], position[used]


def sums_of_neighbours(path: Path, drop_first: int, documents: Container[str]) -> pd.DataFrame:
    """Return `RatioSums` of the centred cosines of neighbours in some documents of a shard."""
    # The previous token is left out too.
    used, document, _ = _used(path, drop_first + 1, documents)
    rows = []
    for column in layers_in(pq.read_schema(path)):
        values = pq.read_table(path, columns=[column])[column].to_numpy()[used]
        rows.append(
            _row(layer_number(column), centred.QUANTITY, 1, values.astype(np.float64), document)
        )
    return pd.DataFrame(rows)


def sums_by_distance(path: Path) -> pd.DataFrame:
    """Return `RatioSums` of the centred cosines of a shard by distance, and of random pairs."""
    sums = pd.read_parquet(path).rename(columns=OF_DISTANCES)
    return sums.assign(quantity=centred.QUANTITY)


def over_shards(sums: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Return the sums over all shards, by `CELL`."""
    return pd.concat(sums).groupby(CELL, sort=False).sum()


def sums_of_shards(
    geometry: Iterable[Path],
    stream: Iterable[Path],
    distances: Iterable[Path] = (),
    neighbours: Iterable[Path] = (),
    *,
    drop_first: int,
    documents: Container[str] | None = None,
) -> pd.DataFrame:
    """Return the sums over all shards of directions and of centred cosines.

    Centred cosines are by distance, of all documents, or of neighbours in the given ``documents``.
    """
    sums: list[pd.DataFrame] = []
    for geometry_path, stream_path in zip(geometry, stream, strict=True):
        sums.append(sums_of_shard(geometry_path, stream_path, drop_first, documents))
    sums += map(sums_by_distance, distances)
    sums += [sums_of_neighbours(path, drop_first, documents or ()) for path in neighbours]
    return over_shards(sums)


def random_pairs(paths: Sequence[Path], quantities: Sequence[str]) -> dict[Hashable, float]:
    """Return the mean over random pairs by layer and quantity, over all shards."""
    shards = [json.loads(pq.read_metadata(path).metadata[PAIRS_KEY]) for path in paths]
    values: list[tuple[Hashable, float, int]] = []
    for shard in shards:
        for quantity in quantities:
            for layer, value in zip(shard["layers"], shard[quantity], strict=True):
                if value is not None:
                    values.append(((layer, quantity), value, shard["pairs"]))
    frame = pd.DataFrame(values, columns=["key", "value", "pairs"])
    frame["value"] *= frame["pairs"]
    sums = frame.groupby("key")[["value", "pairs"]].sum()
    return (sums["value"] / sums["pairs"]).to_dict()


def table(
    sums: pd.DataFrame,
    pairs: Mapping[Hashable, float],
    untrained: pd.DataFrame | None,
    trained: pd.DataFrame | None,
    alpha: float,
) -> pd.DataFrame:
    """Return the means: a row per layer and quantity, and of centred cosines per distance.

    ``untrained`` has the sums with random weights, ``trained`` those of the trained model in the
    same documents, and ``pairs`` is from `random_pairs`.
    """
    means = pd.DataFrame(_ratios(sums).columns(alpha), index=sums.index)
    pair_means = pd.Series([pairs.get(key[:2], np.nan) for key in sums.index], sums.index)
    if "random_pairs" in sums:
        pair_means = (sums["random_total"] / sums["random_pairs"]).fillna(pair_means)
    means.insert(5, "random_pairs", pair_means)
    controls = {"untrained": untrained, "trained": trained}
    for place, (name, control_sums) in enumerate(controls.items(), 6):
        means.insert(place, name, np.nan)
        if control_sums is not None:
            means[name] = pd.Series(_ratios(control_sums).mean, control_sums.index)
    means = means.reset_index().astype({"distance": "Int64"})
    means["distance"] = means["distance"].replace(0, pd.NA)
    return means.sort_values(["quantity", "layer", "distance"], ignore_index=True)


def _ratios(sums: pd.DataFrame) -> RatioSums:
    return RatioSums(*(sums[field.name].to_numpy(float) for field in fields(RatioSums)))
