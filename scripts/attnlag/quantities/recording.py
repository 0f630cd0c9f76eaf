"""Files of what forward passes over the sequences of a tokens file give."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from attnlag.quantities.catalogue import QUANTITIES
from attnlag.quantities.computation import encoding
from attnlag.quantities.extraction import Extractor, Key, Values, measure_runs
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence, stored_sequences

# Rows per row group. Larger groups of vectors are not read faster; more groups take more memory.
ROWS_OF_VECTORS, ROWS_OF_NUMBERS = 4096, 16_384


def files_of(quantities: Iterable[str], sites: Iterable[str], output: Any) -> dict[Key, Path]:
    """Return the files of `record`, given the outputs of a job by the names of quantities."""
    files: dict[Key, Path] = {}
    for name in quantities:
        paths = getattr(output, name)
        paths = paths if isinstance(paths, list) else [paths]
        for site, path in zip(QUANTITIES[name].sites(sites), paths, strict=True):
            files[name, site] = path
    return files


def record(
    tokens: Path,
    extractor: Extractor,
    outputs: Mapping[Key, Path],
    record_of: Callable[[str, str], dict[str, Any]],
    stored: str = "float32",
) -> None:
    """Run a model over the sequences of a tokens file and write each quantity to its file.

    Rows are in the order of the sequences and their tokens. Memory does not grow with the file.
    ``record_of(quantity, site)`` is the record of a file, and ``stored`` the precision of vectors.
    """
    writers: dict[Key, pq.ParquetWriter] = {}
    with ExitStack() as files:

        def writer_of(key: Key, precision: str) -> pq.ParquetWriter:
            if key not in writers:
                # Layers have been proved by the time that the first rows are written.
                schema = extractor.computations[key].schema(precision)
                described = schema.with_metadata(tables.metadata(record_of(*key)))
                options = encoding(schema, precision)
                writer = tables.parquet_writer(outputs[key], described, **options)
                writers[key] = files.enter_context(writer)
            return writers[key]

        precisions = {
            key: stored if extractor.computations[key].of_width else "float32" for key in outputs
        }

        def write(run: list[TokenSequence], values: Values) -> None:
            for key, precision in precisions.items():
                computation = extractor.computations[key]
                if len(computation.layers):
                    rows = ROWS_OF_VECTORS if computation.of_width else ROWS_OF_NUMBERS
                    table = computation.rows(run, values[key], precision)
                    writer_of(key, precision).write_table(table, row_group_size=rows)

        measure_runs(stored_sequences(tokens), extractor, write)
        for key, precision in precisions.items():
            # The fast path was chosen by measurement; stating it reproduces the same bytes.
            facts: dict[Any, Any] = {"fast": extractor.fast}
            facts |= extractor.computations[key].metadata()
            writer_of(key, precision).add_key_value_metadata(facts)
