"""What a forward pass gives of a layer, what computes quantities of it, and the rows of files."""

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from attnlag.errors import UserError
from attnlag.model import hooks
from attnlag.model.decoder import Decoder
from attnlag.model.hooks import BlockModules
from attnlag.quantities import columns
from attnlag.quantities.catalogue import SITES, Key, Quantity
from attnlag.quantities.norms import l2_norms
from attnlag.quantities.passes import Batch
from attnlag.storage.sequences import TokenSequence, keys_of

# An array for each layer that has values: a row for each token.
Values = Mapping[Key, Sequence[np.ndarray]]


class Seen(dict[str, torch.Tensor]):
    """What a pass over a batch has given of a layer, by point: rows of its real tokens."""

    def __init__(self, layer: int, batch: Batch):
        super().__init__()
        self.layer, self.batch = layer, batch
        self.times: Counter[str] = Counter()  # how often each point was given
        self._sites: dict[str, Any] = {}

    def site(self, name: str) -> Any:
        """Return the vectors of a site, (tokens, width)."""
        if name not in self._sites:
            added = [self[sublayer] for sublayer in SITES[name].sublayers]
            self._sites[name] = SITES[name].value(*(each.to(added[-1].device) for each in added))
        return self._sites[name]


@contextmanager
def observed(
    blocks: Sequence[BlockModules],
    batch: Batch,
    points: Collection[str],
    modules: hooks.Modules | None = None,
    then: Callable[[Seen, str], object] = lambda seen, point: None,
) -> Iterator[dict[int, Seen]]:
    """Yield what the pass over a batch within the context gives of each layer, see `hooks.watched`.

    What blocks receive and add is at least in float32. ``then(seen, point)`` is called after each
    point is stored, and may end the pass by ``hooks.AllSeen``.
    """
    layers: dict[int, Seen] = {}

    def keep(layer: int, point: str, rows: torch.Tensor) -> None:
        seen = layers.setdefault(layer, Seen(layer, batch))
        half = rows.dtype.itemsize < 4 and (layer, point) not in (modules or {})
        seen[point] = rows.float() if half else rows
        seen.times[point] += 1
        then(seen, point)

    mask = torch.from_numpy(batch.real)
    with (
        suppress(hooks.AllSeen),
        hooks.watched(blocks, mask, keep, points, modules),
        torch.inference_mode(),
    ):
        yield layers


class Computation:
    """Computes a quantity of a site, given what the passes of an `Extractor` show."""

    # Shape of the value of a token in a layer; by default, a number for each of ``values``.
    shape: tuple[int, ...] = ()
    # Whether the value is a vector of the stream, and the precision in which values are stored:
    # "bfloat16" or "float16" for such vectors alone.
    of_width = False
    stored = "float32"
    # The error of a proof in words, or why there is nothing.
    remark = ""

    def __init__(self, quantity: Quantity, site: str, decoder: Decoder):
        self.quantity, self.site = quantity, site
        self.called, self.width = decoder.called, int(decoder.config.hidden_size)
        # What gives points besides those of blocks, see ``hooks.tap``.
        self.modules: hooks.Modules = {}
        # The layers that have values.
        self.layers: Sequence[int] = range(len(decoder.blocks))
        self.points = {*(SITES[site].sublayers if site in SITES else ()), *quantity.points}
        if quantity.values:
            self.shape = (len(quantity.values),)
        elif self.of_width:
            self.shape = (self.width,)

    def prove(self, seen: Mapping[int, Seen], output: Any) -> None:
        """Prove the quantity by what a short pass has given of each layer and its output.

        What fails the proof is taken from ``layers``, or raises UserError.
        """

    def expect(self, sequences: int) -> None:
        """Prepare for a shard of so many sequences, as the control of random pairs does."""

    def begin(self, sequences: Sequence[TokenSequence]) -> None:
        """Prepare for the next run of sequences."""

    def layer(self, seen: Seen) -> Any:
        """Return the values of a layer, a tensor of (tokens, *shape) in float32."""
        # Each quantity has its own; unlike the methods above, there is nothing to do by default.
        raise NotImplementedError

    def bytes_per_token(self, stored: str) -> int:
        """Return the most bytes that a token takes on disk, given the precision of vectors."""
        # Random digits do not compress.
        of_number = getattr(torch, stored).itemsize if self.of_width else 4
        return len(self.layers) * math.prod(self.shape) * of_number

    def metadata(self) -> dict[bytes, bytes]:
        """Return what its file states besides its rows."""
        return {}

    def schema(self) -> pa.Schema:
        """Return the schema of its file: the keys, then the columns of each layer."""
        values = self.quantity.values
        width = self.shape[0] if self.shape and not values else None
        return columns.schema(self.layers, width, self.stored, values)

    def rows(self, run: Sequence[TokenSequence], values: Sequence[np.ndarray]) -> pa.Table:
        """Return the rows of its file, given the array of each layer."""
        if self.quantity.values:
            values = [column for of_layer in values for column in of_layer.T]
        return table(run, values, self.schema(), self.stored)


def norms_of(vectors: Any) -> Any:
    """Return the L2 norms of the rows of a tensor, accumulated in float64, as float32."""
    if vectors.device.type == "cpu":
        # Computed like the norms of stored vectors; the bits are equal if float32 is stored.
        return torch.from_numpy(l2_norms(vectors.float().numpy()))
    return torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64).float()


class Vectors(Computation):
    """The vectors of a site, in float32."""

    of_width = True

    def layer(self, seen: Seen) -> Any:
        return seen.site(self.site).float()


class Norms(Computation):
    """The norms of a site."""

    def layer(self, seen: Seen) -> Any:
        return norms_of(seen.site(self.site))


class StreamNorms(Computation):
    """The norms of what blocks receive."""

    def layer(self, seen: Seen) -> Any:
        return norms_of(seen["stream"])


def table(
    sequences: Sequence[TokenSequence], layers: Sequence[np.ndarray], schema: pa.Schema, stored: str
) -> pa.Table:
    """Return a row per token of some sequences: the keys first, then the layers of one site.

    Vectors are rounded to the precision ``stored``. Parquet has no bfloat16; such numbers are
    stored as float32 with zeros in the other digits, which compress to nothing. Raise UserError if
    one is too large for float16.
    """
    arrays = keys_of(sequences)
    for layer, values in enumerate(layers):
        if values.ndim == 1:
            arrays.append(pa.array(values))
            continue
        numbers = torch.from_numpy(values).to(getattr(torch, stored))
        flat = (numbers.float() if stored == "bfloat16" else numbers).numpy()
        if stored == "float16" and np.isinf(flat).sum() > np.isinf(values).sum():
            raise UserError(
                f"float16 holds numbers up to 65504, but what layer {layer} adds is as large as "
                f"{np.abs(values[np.isfinite(values)]).max():.3g}; expected storage in bfloat16 or "
                "float32"
            )
        kind = schema.field(len(arrays)).type
        arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(flat.reshape(-1)), type=kind))
    return pa.Table.from_arrays(arrays, schema=schema)


def encoding(schema: pa.Schema, stored: str) -> dict[str, Any]:
    """Return the Parquet options for the rows of `table`; see benchmarks/storage.py.

    Compression hardly reduces float32 vectors and slows down reading.
    """
    options: dict[str, Any] = {"use_dictionary": ["document"], "write_statistics": False}
    vectors = [field.name for field in schema if pa.types.is_fixed_size_list(field.type)]
    if not vectors:
        return {**options, "compression": "zstd"}
    if stored == "float32":
        return {**options, "compression": "none"}
    split = [f"{name}.list.element" for name in vectors]
    options |= {"use_byte_stream_split": split, "compression_level": 1}
    return {**options, "compression": "zstd"}
