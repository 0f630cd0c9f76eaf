"""What computes a quantity from forward passes, layer by layer, and the rows of its files."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from attnlag.quantities import columns
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.sites import SITES
from attnlag.storage.sequences import TokenSequence, keys_of


class Seen(dict[str, Any]):
    """What a pass over a batch has given of a layer, by point: rows of its real tokens."""

    def __init__(self, layer: int, batch: Any):
        super().__init__()
        self.layer, self.batch = layer, batch
        self.times: Counter[str] = Counter()  # how often each point was given
        self._sites: dict[str, Any] = {}

    def give(self, point: str, rows: Any) -> None:
        """Set the rows of a point; those of the stream and of its parts at least in float32."""
        of_module = point in ("heads", "projected", "head")
        self[point] = rows.float() if not of_module and rows.dtype.itemsize < 4 else rows
        self.times[point] += 1

    def site(self, name: str) -> Any:
        """Return the vectors of a site, (tokens, width)."""
        if name not in self._sites:
            parts = [self[part] for part in SITES[name].parts]
            self._sites[name] = SITES[name].value(*(part.to(parts[-1].device) for part in parts))
        return self._sites[name]


class Computation:
    """Computes a quantity of a site.

    ``model`` is an `Extractor`, which has the blocks and width of the model.
    """

    # Shape of the value of a token in a layer, besides the names of ``Quantity.values``.
    shape: tuple[int, ...] = ()
    # Whether the value is a vector of the stream.
    of_width = False
    # The error of a proof in words, or why there is nothing.
    remark = ""
    # What gives points besides those of blocks, see ``hooks.tap``.
    modules: Mapping[tuple[int, str], Any] = {}

    def __init__(self, quantity: Quantity, site: str, model: Any):
        self.quantity, self.site = quantity, site
        # The layers that have values.
        self.layers: Sequence[int] = range(len(model.blocks))
        parts = SITES[site].parts if site in SITES else ()
        self.points = {*parts, *quantity.points}
        if quantity.values:
            self.shape = (len(quantity.values),)

    def prove(self, observed: Mapping[int, Seen], output: Any) -> None:
        """Prove the quantity in a short pass, given what this has shown of each layer.

        ``output`` is that of the model. What fails the proof is taken from ``layers``, or raises
        UserError.
        """

    def expect(self, sequences: int) -> None:
        """Prepare for a shard of so many sequences, as the control of random pairs does."""

    def begin(self, sequences: Sequence[TokenSequence]) -> None:
        """Prepare for the next run of sequences."""

    def layer(self, seen: Seen) -> Any:
        """Return the values of a layer, a tensor of (tokens, *shape) in float32."""
        raise NotImplementedError

    def metadata(self) -> dict[bytes, bytes]:
        """Return what its file states besides its rows."""
        return {}

    def schema(self) -> pa.Schema:
        """Return the schema of its file: the keys, then the columns of each layer."""
        if not self.quantity.values:
            width = self.shape[0] if self.shape else None
            return columns.schema(self.layers, width)
        return columns.schema_of_values(self.layers, self.quantity.values)

    def rows(self, run: Sequence[TokenSequence], values: Sequence[np.ndarray]) -> pa.Table:
        """Return the rows of its file, given the array of each layer."""
        if self.quantity.values:
            values = [column for of_layer in values for column in of_layer.T]
        return table(run, values, self.schema())


def table(
    sequences: Sequence[TokenSequence], layers: Sequence[np.ndarray], schema: pa.Schema
) -> pa.Table:
    """Return a row per token of some sequences: the keys first, then the layers of one site."""
    arrays = keys_of(sequences)
    for values in layers:
        kind = schema.field(len(arrays)).type
        flat = pa.array(values.reshape(-1))
        lists = pa.types.is_fixed_size_list(kind)
        arrays.append(pa.FixedSizeListArray.from_arrays(flat, type=kind) if lists else flat)
    return pa.Table.from_arrays(arrays, schema=schema)


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return the Parquet options for the rows of `table`; see benchmarks/storage.py.

    Compression hardly reduces vectors and slows down reading.
    """
    vectors = any(pa.types.is_fixed_size_list(field.type) for field in schema)
    options: dict[str, Any] = {"compression": "none" if vectors else "zstd"}
    return {**options, "use_dictionary": ["document"], "write_statistics": False}
