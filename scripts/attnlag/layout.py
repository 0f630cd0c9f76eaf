"""The columns of the tables that have one row per token."""

import pyarrow as pa

KEY_FIELDS = [
    pa.field("document", pa.dictionary(pa.int32(), pa.string())),
    pa.field("window", pa.int32()),
    pa.field("position", pa.int32()),
    pa.field("token_id", pa.int32()),
]
KEYS = [field.name for field in KEY_FIELDS]


def layer_name(layer: int) -> str:
    """Return the column name of a layer: ``layer_00``."""
    return f"layer_{layer:02d}"


def layers_in(schema: pa.Schema) -> list[str]:
    """Return the names of a table's layer columns, first layer first."""
    return [name for name in schema.names if name.startswith("layer_")]


def schema(layers: int, width: int | None = None) -> pa.Schema:
    """Return the schema of activations (vectors of ``width``) or of norms (no width).

    ``position`` counts from 0 within the sequence that the model saw, a begin-of-sequence token
    included.
    """
    kind = pa.float32() if width is None else pa.list_(pa.float32(), width)
    return pa.schema([*KEY_FIELDS, *((layer_name(layer), kind) for layer in range(layers))])
