"""The key columns of every table with one row per token."""

import pyarrow as pa

KEY_FIELDS = [
    pa.field("document", pa.dictionary(pa.int32(), pa.string())),
    pa.field("window", pa.int32()),
    pa.field("position", pa.int32()),
    pa.field("token_id", pa.int32()),
]
KEYS = [field.name for field in KEY_FIELDS]
