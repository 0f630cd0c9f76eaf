"""Properties of tokens, used as covariates and as classes with separate slopes.

The tables of properties have the same rows as the norms. A design has fewer rows, and the control
with random weights uses a few documents of all shards, so tokens are looked up by their keys.

The workflow imports this module whenever it starts, so numpy and pyarrow are imported lazily.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from attnlag.corpus.catalogue import CATALOGUE
from attnlag.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

SLOPES = {name: entry for name, entry in CATALOGUE.items() if entry.label}

# Classes of tokens by property, in the order of the dummies.
CLASSES = {name: entry.names_of_classes for name, entry in SLOPES.items() if entry.names_of_classes}

# Numbers that slopes may change with, and their files.
MODERATORS = {name: entry.file for name, entry in SLOPES.items() if name not in CLASSES}

# Names of the thirds of the tokens by such a number.
TERCILES = ("low", "middle", "high")

# Name of the class that merges those with too few tokens or documents.
OTHER = "other"


def classes_of(name: str) -> tuple[str, ...]:
    """Return the classes of a property: its values, or the thirds of a number."""
    return TERCILES if name in MODERATORS else CLASSES[name]


class Property:
    """A property of the tokens of some documents.

    ``starts`` has the first row of each sequence, by document and window, and ``values``, (rows,)
    float64, numbers or indices into `CLASSES`, NaN if unknown.
    """

    def __init__(self, name: str, starts: dict[tuple[str, int], int], values: np.ndarray) -> None:
        self.name = name
        self.values = values
        # The first row of each sequence, and the row after its last.
        ends = pairwise([*starts.values(), len(values)])
        self._spans = dict(zip(starts, ends, strict=True))

    def values_of(self, keys: pa.Table) -> np.ndarray:
        """Return the values of some tokens, (tokens,) float64, NaN if unknown.

        Raise UserError if one is not in the table.
        """
        import numpy as np

        document = keys["document"].combine_chunks()
        codes = document.indices.to_numpy()
        names = document.dictionary.to_pylist()
        window = keys["window"].to_numpy()
        position = keys["position"].to_numpy()
        new = np.flatnonzero((np.diff(codes, prepend=-1) != 0) | (np.diff(window, prepend=-1) != 0))
        spans = np.zeros((len(new), 2), np.int64)
        for span, row in zip(spans, new.tolist(), strict=True):
            span[:] = self._spans.get((names[codes[row]], int(window[row])), (0, 0))
        lengths = np.diff(new, append=len(codes))
        first, end = np.repeat(spans, lengths, axis=0).T
        rows = first + position
        missing = rows >= end
        if missing.any():
            row = int(missing.argmax())
            raise UserError(
                f"found no {self.name} of the document '{names[codes[row]]}', window "
                f"{window[row]}, position {position[row]}; expected the properties of the tokens "
                "that the norms were measured on"
            )
        return self.values[rows]

    def at(
        self, rows: pa.RecordBatch | pa.Table, offset: int, before_first: float = float("nan")
    ) -> np.ndarray:
        """Return the values of the tokens at an offset from the rows of a design, (rows,) float64.

        ``before_first`` stands for the position before the first token of a sequence. Raise
        UserError if a token is not in the table.
        """
        import numpy as np
        import pyarrow as pa

        keys = pa.table({name: rows.column(name) for name in ("document", "window")})
        position = rows.column("position").to_numpy() + offset
        values = self.values_of(keys.append_column("position", pa.array(np.maximum(position, 0))))
        return np.where(position < 0, before_first, values)

    def cuts(self) -> list[float]:
        """Return the largest numbers in the lowest and the middle third of tokens that have one."""
        import numpy as np

        numbers = self.values[~np.isnan(self.values)]
        if not len(numbers):
            return [0.0, 0.0]
        return np.quantile(numbers, [1 / 3, 2 / 3], method="inverted_cdf").tolist()


def read_property(
    name: str, paths: Sequence[Path], documents: Collection[str] | None = None
) -> Property:
    """Read a property of the tokens of all documents, or of some.

    Raise UserError if a token has a value that is not one of its classes.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    starts: dict[tuple[str, int], int] = {}
    values: list[np.ndarray] = [np.zeros(0)]
    rows = 0
    for path in paths:
        file = pq.ParquetFile(path, pre_buffer=False)
        for batch in file.iter_batches(65_536, columns=["document", "window", "position", name]):
            if documents is not None:
                names = batch.column("document").cast(pa.string())
                batch = batch.filter(pc.is_in(names, pa.array(sorted(documents), pa.string())))
            codes = batch.column("document")
            begins = np.flatnonzero(batch.column("position").to_numpy() == 0)
            for row in begins.tolist():
                starts[codes[row].as_py(), batch.column("window")[row].as_py()] = rows + row
            values.append(_numbers(name, batch.column(name)))
            rows += batch.num_rows
    return Property(name, starts, np.concatenate(values))


def _numbers(name: str, column: pa.Array) -> np.ndarray:
    """Return a column as numbers, NaN for null; classes become indices into `CLASSES`."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if name in CLASSES and not pa.types.is_boolean(column.type):
        column = column.cast(pa.string())
        places = pc.index_in(column, pa.array(CLASSES[name], pa.string()))
        unknown = pc.and_(pc.is_null(places), pc.is_valid(column))
        if pc.any(unknown).as_py():
            value = column.filter(unknown)[0].as_py()
            raise UserError(
                f"found the {name} '{value}' of a token, expected one of {', '.join(CLASSES[name])}"
            )
        column = places
    return column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)


def dummies(codes: np.ndarray, classes: int) -> np.ndarray:
    """Return the dummies of the classes, (classes, tokens); NaN if a token's class is unknown."""
    import numpy as np

    values = (codes == np.arange(classes)[:, None]).astype(np.float64)
    values[:, np.isnan(codes)] = np.nan
    return values
