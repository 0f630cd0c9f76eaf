"""Moments of rows in memory, which are written to no file."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from attnlag.regression.design import design
from attnlag.regression.design.counts import Counts
from attnlag.regression.design.design import Formula
from attnlag.regression.moments.moments import (
    Moments,
    RowPartition,
    sum_products,
    with_clusters,
    with_packed,
)
from attnlag.regression.moments.packed_files import Block, gathered
from attnlag.regression.units import Unit


def moments_of_design(
    rows: Iterable[pa.RecordBatch], schema: pa.Schema, partition: RowPartition, **fields: Any
) -> list[Moments]:
    """Return the moments of each layer of a design in memory.

    ``fields`` are further ones of `Moments`, equal in all layers.
    """
    layers, terms = design.layers_and_terms(schema)
    return _moments_of_units(rows, list(map(Unit, layers)), terms, partition, **fields)


def moments_of_numbers(
    batches: Iterable[pa.RecordBatch],
    formula: Formula,
    units: Sequence[Unit],
    halves: bool = False,
    precision: str = "bfloat16",
) -> list[Moments]:
    """Return the moments of each unit of the design of batches of norms or other numbers.

    The batches have whole documents: the keys, then a column for each unit.
    """
    return _moments_of_units(
        design.designs(batches, formula, Counts()),
        units,
        [*formula.places, *formula.shared],
        RowPartition(halves),
        outcome_is_logarithm=formula.outcome.logarithm,
        precision=precision,
    )


def joined(parts: Sequence[Moments]) -> Moments:
    """Return moments of the clusters of several, about the centre of that with most documents."""
    if len(parts) == 1:
        return parts[0]
    # Those without rows have no means that could be the centre.
    largest = max(parts, key=lambda part: part.documents)
    clusters: list[str] = []
    sums = []
    for part in parts:
        clusters += part.clusters
        sums.append(part.recentred(largest.centre).products)
    return with_clusters(largest, clusters, np.concatenate(sums, axis=1))


def _moments_of_units(
    rows: Iterable[pa.RecordBatch],
    units: Sequence[Unit],
    terms: list[str],
    partition: RowPartition,
    **fields: Any,
) -> list[Moments]:
    centre, blocks = sum_products(rows, units, terms, partition)
    packed = centre.shape[1] * (1 + centre.shape[1]) // 2
    none: Block = [], np.zeros((0, partition.cells, len(units), packed))
    names, sums = next(gathered(blocks), none)
    p = centre.shape[1]
    moments = []
    for place, unit in enumerate(units):
        empty = Moments(
            layer=unit.layer,
            part=unit.part,
            terms=terms,
            clusters=[],
            centre=centre[place],
            products=np.zeros((partition.cells, 0, p, p)),
            documents=0,
            above=place,
            **fields,
        )
        moments.append(with_packed(empty, names, sums[:, :, place]))
    return moments
