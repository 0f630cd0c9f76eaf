"""What computes a quantity from forward passes, layer by layer, and the rows of its files."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from attnlag.quantities import columns
from attnlag.quantities.catalogue import Quantity
from attnlag.quantities.sites import SITES
from attnlag.storage.sequences import TokenSequence


class Batch(NamedTuple):
    """The sequences of a pass."""

    sequences: Sequence[np.ndarray]
    rows: np.ndarray  # numbers of their tokens in the run, sequence after sequence
    starts: Any  # tensor of the places of first tokens among these


class Seen(dict[str, Any]):
    """What a pass has given of a layer, by point: rows of its real tokens."""

    def __init__(self, layer: int, batch: Batch):
        super().__init__()
        self.layer, self.batch = layer, batch
        self._sites: dict[str, Any] = {}

    def give(self, point: str, rows: Any) -> None:
        """Add the rows of a point; vectors of the stream at least in float32."""
        of_projection = point in ("heads", "projected")
        self[point] = rows.float() if not of_projection and rows.dtype.itemsize < 4 else rows

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
    # Whether the value is a vector of the stream, which may be stored in half precision.
    of_width = False
    # Whether the inputs of the head are needed, see `end`.
    needs_head = False
    # The error of a proof in words, or why there is nothing.
    remark = ""
    # What runs the model up to its head, if that is needed.
    predictions: Any = None
    # The modules that give the points of projections, by layer.
    projections: Mapping[int, Any] = {}

    def __init__(self, quantity: Quantity, site: str, model: Any):
        self.quantity, self.site = quantity, site
        # The layers that have values.
        self.layers: Sequence[int] = range(len(model.blocks))
        parts = SITES[site].parts if site in SITES else ()
        self.points = {*parts, *quantity.points}
        if quantity.values:
            self.shape = (len(quantity.values),)

    def prove(self, observed: Mapping[int, Seen]) -> None:
        """Prove the quantity in a short pass, given what this has shown of each layer.

        What fails the proof is taken from ``layers``, or raises UserError.
        """

    def expect(self, sequences: int) -> None:
        """Prepare for a shard of so many sequences, as the control of random pairs does."""

    def begin(self, sequences: Sequence[TokenSequence]) -> None:
        """Prepare for the next run of sequences."""

    def layer(self, seen: Seen) -> Any:
        """Return the values of a layer, a tensor of (tokens, *shape) in float32."""
        raise NotImplementedError

    def end(self, hidden: Any, batch: Batch) -> Sequence[Any]:
        """Return what is computed from the inputs of the head, (tokens, width), after the pass."""
        return ()

    def metadata(self) -> dict[bytes, bytes]:
        """Return what its file states besides its rows."""
        return {}

    def schema(self, stored: str = "float32") -> pa.Schema:
        """Return the schema of its file: the keys, then the columns of each layer."""
        if not self.quantity.values:
            width = self.shape[0] if self.shape else None
            return columns.schema(self.layers, width, stored)
        return columns.schema_of_values(self.layers, self.quantity.values)

    def rows(
        self, run: Sequence[TokenSequence], values: Sequence[np.ndarray], stored: str = "float32"
    ) -> pa.Table:
        """Return the rows of its file, given the array of each layer."""
        from attnlag.quantities import layout  # imports torch

        if self.quantity.values:
            values = [column for of_layer in values for column in of_layer.T]
        return layout.table(run, list(values), self.schema(stored), stored)
