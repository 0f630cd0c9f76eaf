"""The tables of what adjustments are written by and of what they say, a row per token and layer."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from attnlag.quantities.catalogue import Key
from attnlag.quantities.columns import layer_name, schema
from attnlag.storage.sequences import KEY_FIELDS, KEYS

# The classes of a token's sources. A source belongs to the first that it fits.
PREVIOUS = 4
SOURCE_CLASSES = ("first", "self", *(f"previous_{k}" for k in range(1, PREVIOUS + 1)), "rest")

# Number of a token's sources that are named, those with the largest shares.
STRONGEST = 10

# The words that effects are measured on: the token itself, the true next token, and the token that
# the model finds most likely; and the same at another place of the document.
TARGETS = ("own", "next", "top1")
READOUT_EFFECTS = (*TARGETS, *(f"{name}_control" for name in TARGETS))

# Norms of what a token writes to itself and of what earlier ones write: outcomes, by column.
WRITTEN = {"from_itself": "self_norm", "from_earlier": "shared_norm"}

NUMBERS = (
    *SOURCE_CLASSES,
    *("bias", "effective"),
    *(f"attention_{name}" for name in SOURCE_CLASSES),
    *("norm", *WRITTEN.values()),
)
LISTS = {"strongest": pa.list_(pa.int32()), "strongest_shares": pa.list_(pa.float32())}

ROW = [*KEY_FIELDS, pa.field("layer", pa.int32())]
SOURCES = pa.schema([*ROW, *((name, pa.float32()) for name in NUMBERS), *LISTS.items()])
READOUT = pa.schema([*ROW, *((name, pa.float32()) for name in READOUT_EFFECTS)])


def table(
    keys: list[pa.Array], layers: Sequence[int], columns: Mapping[str, Any], schema: pa.Schema
) -> pa.Table:
    """Return a row for each token and layer of a sequence, given the keys of its tokens.

    Columns are (tokens × layers,); lists are (tokens × layers, values), and those of a token end at
    the token itself.
    """
    places = np.repeat(np.arange(len(keys[0])), len(layers))
    rows = pa.table(keys, KEYS).take(places)
    rows = rows.append_column("layer", pa.array(np.tile(layers, len(keys[0]))))
    for name in schema.names[len(ROW) :]:
        values = columns[name]
        if name in LISTS:
            values = [row[: place + 1] for row, place in zip(values, places, strict=True)]
        rows = rows.append_column(name, pa.array(values))
    return rows.cast(schema)


def tables(
    sites: Sequence[str], rows: Mapping[Key, Sequence[pa.Table]] | None = None
) -> dict[Key, pa.Table]:
    """Return the tables of all sequences as one, by quantity and site; without rows, an empty one.

    ``sites`` are those with a readout.
    """
    schemas = {("sources", "attention"): SOURCES, ("sinks", "attention"): schema(0)}
    for site in sites:
        schemas["readout", site] = READOUT
    found: dict[Key, pa.Table] = {}
    for key, stated in schemas.items():
        sequences = (rows or {}).get(key) or [stated.empty_table()]
        found[key] = pa.concat_tables(sequences).unify_dictionaries()
    return found


def source_parts(sources: pa.Table) -> pa.Table:
    """Return the norms of what each token and earlier ones write, a row for each token.

    ``sources`` are rows of `SOURCES`, with the same layers for each token.
    """
    layers = pc.unique(sources["layer"]).to_pylist()
    rows = sources.filter(pc.equal(sources["layer"], layers[0])) if layers else sources
    rows = rows.select(KEYS)
    for name, column in WRITTEN.items():
        by_layer = sources[column].to_numpy().reshape(-1, max(len(layers), 1))
        for layer, values in zip(layers, by_layer.T, strict=False):
            rows = rows.append_column(f"{layer_name(layer)}.{name}", pa.array(values))
    return rows
