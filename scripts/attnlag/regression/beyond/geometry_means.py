"""Means of the directions of adjustments by layer, beside random pairs and random weights."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from attnlag.adjustments import centred
from attnlag.adjustments.columns import PAIRS_KEY, layers_in
from attnlag.adjustments.outcomes import OF_A_PASS, OUTCOMES, RELATIVE, STREAM_GROWTH
from attnlag.regression.estimation.clustered import RatioSums
from attnlag.storage import tables

NOTHING = RatioSums(0, 0, 0.0, 0.0, 0.0, 0.0)


def sums_of_shard(
    geometry: Path, stream: Path, drop_first: int
) -> dict[tuple[int, str], RatioSums]:
    """Return the sums of each quantity of each layer, without the first tokens of sequences.

    One column is in memory at a time.
    """
    whole = np.arange(tables.row_count([geometry]))
    names = pq.read_table(geometry, columns=["document"]).unify_dictionaries().combine_chunks()
    document = names["document"].combine_chunks().indices.to_numpy()
    position = tables.values_of([geometry], "position", whole)
    kept = position >= drop_first
    document, position = document[kept], position[kept]

    def column(path: Path, name: str) -> np.ndarray:
        return tables.values_of([path], name, whole)[kept].astype(np.float64)

    sums: dict[tuple[int, str], RatioSums] = {}
    layers = layers_in(pq.read_schema(stream))
    before = None
    for layer, name in enumerate(layers):
        received = column(stream, name)
        with np.errstate(divide="ignore", invalid="ignore"):
            if before is not None:
                sums[layer - 1, STREAM_GROWTH] = RatioSums.of_rows(
                    np.log(received / before), document
                )
            for quantity in OF_A_PASS:
                values = column(geometry, f"{name}.{quantity}")
                if OUTCOMES[quantity].first_position:
                    # The previous token is left out too.
                    values[position == drop_first] = np.nan
                sums[layer, quantity] = RatioSums.of_rows(values, document)
                if f"{quantity}_relative" in RELATIVE:
                    relative = RatioSums.of_rows(values / received, document)
                    sums[layer, f"{quantity}_relative"] = relative
        before = received
    return sums


def over_shards(
    of_shards: Sequence[dict[tuple[int, str], RatioSums]],
) -> dict[tuple[int, str], RatioSums]:
    """Return the sums over all shards."""
    together = dict(of_shards[0])
    for more in of_shards[1:]:
        together = {key: sums + more[key] for key, sums in together.items()}
    return together


def random_pairs(paths: Sequence[Path], quantities: Sequence[str]) -> dict[tuple[int, str], float]:
    """Return the mean over random pairs of each layer and quantity, over all shards."""
    weights: dict[tuple[int, str], float] = {}
    totals: dict[tuple[int, str], float] = {}
    for path in paths:
        pairs = json.loads(pq.read_metadata(path).metadata[PAIRS_KEY])
        for quantity in quantities:
            values = pairs.get(quantity, {})
            by_layer = dict(enumerate(values)) if isinstance(values, list) else values
            for layer, value in by_layer.items():
                if value is not None:
                    key = int(layer), quantity
                    weights[key] = weights.get(key, 0) + pairs["pairs"]
                    totals[key] = totals.get(key, 0) + pairs["pairs"] * value
    return {key: totals[key] / weight for key, weight in weights.items()}


def by_distance(paths: Sequence[Path]) -> pd.DataFrame:
    """Return the sums of centred cosines over all shards, a row per layer and distance."""
    tables_of_shards = pd.concat([pd.read_parquet(path) for path in paths])
    return tables_of_shards.groupby(["layer", "distance"], as_index=False).sum()


def table(
    sums: dict[tuple[int, str], RatioSums],
    pairs: dict[tuple[int, str], float],
    random: dict[tuple[int, str], RatioSums] | None,
    distances: pd.DataFrame | None,
    random_distances: pd.DataFrame | None,
    alpha: float,
) -> pd.DataFrame:
    """Return the means: a row per layer and quantity, and of centred cosines per distance.

    Parameters
    ----------
    random : dict or None
        Sums with random weights, without centred cosines.
    distances, random_distances : pandas.DataFrame or None
        From `by_distance`, for centred cosines with trained and with random weights.
    """
    rows: list[tuple[int, str, int | None, RatioSums, float, float]] = []
    for (layer, quantity), ratio in sums.items():
        distance = 1 if quantity == "cosine_previous" else None
        control = (random or {}).get((layer, quantity), NOTHING).mean
        against = pairs.get((layer, quantity), np.nan)
        rows.append((layer, quantity, distance, ratio, against, control))
    untrained = {}
    if random_distances is not None:
        by_layer = random_distances.set_index(["layer", "distance"])
        untrained = (by_layer["total"] / by_layer["pairs"].replace(0, np.nan)).to_dict()
    for row in [] if distances is None else distances.to_dict("records"):
        ratio = RatioSums(
            row["documents"],
            row["pairs"],
            row["pairs_squared"],
            row["total"],
            row["total_squared"],
            row["total_pairs"],
        )
        against = row["random_total"] / row["random_pairs"] if row["random_pairs"] else np.nan
        control = untrained.get((row["layer"], row["distance"]), np.nan)
        rows.append((row["layer"], centred.QUANTITY, row["distance"], ratio, against, control))
    records = []
    for layer, quantity, distance, ratio, against, control in rows:
        low, high = ratio.interval(alpha)
        records.append(
            {
                "layer": layer,
                "quantity": quantity,
                "distance": distance,
                "mean": ratio.mean,
                "std_error": float(ratio.std_error),
                "conf_low": low,
                "conf_high": high,
                "random_pairs": against,
                "random_weights": control,
                "tokens": ratio.rows,
                "documents": ratio.clusters,
            }
        )
    frame = pd.DataFrame(records).astype({"distance": "Int64", "tokens": int, "documents": int})
    return frame.sort_values(["quantity", "layer", "distance"], ignore_index=True)
