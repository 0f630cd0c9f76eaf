"""The columns of the tables that have one row per token."""

import pyarrow as pa

from attnlag.storage.keys import KEY_FIELDS, KEYS

__all__ = ["KEYS", "KEY_FIELDS"]

# Where a geometry file says what random pairs give: it is known after its schema is written.
PAIRS_KEY = b"attnlag.random_pairs"

# Where a file of attention to first tokens says how it was found, or why there is none.
SINKS_KEY = b"attnlag.sinks"


def layer_name(layer: int) -> str:
    """Return the column name of a layer: ``layer_00``."""
    return f"layer_{layer:02d}"


def layer_number(name: str) -> int:
    """Return the layer of a column name."""
    return int(name.removeprefix("layer_"))


def layers_in(schema: pa.Schema) -> list[str]:
    """Return the names of a table's layer columns, first layer first."""
    return [name for name in schema.names if name.startswith("layer_")]


def schema(layers: int, width: int | None = None, stored: str = "float32") -> pa.Schema:
    """Return the schema of activations (vectors of ``width``) or of norms (no width).

    ``position`` counts from 0 within the sequence that the model saw, a begin-of-sequence token
    included. Vectors are float16 where they are stored so, else float32; none are missing, which
    spares Parquet a note for each of their numbers.
    """
    if width is None:
        fields = [pa.field(layer_name(layer), pa.float32()) for layer in range(layers)]
    else:
        number = pa.float16() if stored == "float16" else pa.float32()
        vector = pa.list_(pa.field("element", number, nullable=False), width)
        fields = [pa.field(layer_name(layer), vector, nullable=False) for layer in range(layers)]
    return pa.schema([*KEY_FIELDS, *fields])
