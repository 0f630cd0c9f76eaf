"""Parquet and CSV files: written whole or not at all, and marked with what made them.

Every Parquet file carries under the schema metadata key ``attnlag`` a JSON object: the model
and its digest, the corpus and its digest, the settings of each stage so far, and the versions
of the packages that computed it. There is no clock time, host name or path in it, so equal
inputs give equal bytes.
"""

import importlib.metadata
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.storage.writing import written_whole

if TYPE_CHECKING:
    # Every program imports this module, few need pandas, and its import takes a quarter second.
    import pandas as pd

METADATA_KEY = b"attnlag"

# A design is streamed: what it left out is known after its schema is written.
COUNTS_KEY = b"attnlag.counts"


def provenance(
    upstream: dict[str, Any], stage: str, settings: Any, *packages: str, **facts: Any
) -> dict[str, Any]:
    """Return ``upstream`` extended by what this stage did.

    Parameters
    ----------
    upstream : dict
        The provenance of the stage before, ``{}`` for the first.
    stage : str
        The output's name in the flow, for example ``"norms"``.
    settings : object
        The settings that change the output, JSON-serialisable.
    packages : str
        Names of the packages whose versions matter to the output.
    facts : object
        Further entries (``model=``, ``corpus=``, counts of this stage).
    """
    versions = {package: importlib.metadata.version(package) for package in packages}
    return {
        **upstream,
        **facts,
        "stages": {**upstream.get("stages", {}), stage: settings},
        "versions": {**upstream.get("versions", {}), **versions},
    }


def metadata(record: dict[str, Any]) -> dict[bytes, bytes]:
    """Return ``record`` as the schema metadata that carries it."""
    return {METADATA_KEY: json.dumps(record, sort_keys=True, ensure_ascii=False).encode()}


def read_provenance(path: str | Path) -> dict[str, Any]:
    """Return the provenance record in a Parquet file that attnlag wrote."""
    return json.loads(pq.read_schema(path).metadata[METADATA_KEY])


def damaged(paths: Iterable[Path]) -> list[str]:
    """Return a line for each Parquet file that cannot be read, or that attnlag did not write.

    They are read whole, which is for when something has failed.
    """
    problems = []
    for path in paths:
        advice = "delete it, and it is made anew"
        try:
            file = pq.ParquetFile(path, pre_buffer=False)
            for group in range(file.num_row_groups):
                file.read_row_group(group, use_threads=False)
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            problems.append(f"{path}: found a damaged file, expected Parquet ({reason}); {advice}")
        else:
            if METADATA_KEY not in (file.metadata.metadata or {}):
                problems.append(f"{path}: found no record of what made it; {advice}")
    return problems


def of_all_shards(record: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of one shard without what it says of that shard alone."""
    return {key: record[key] for key in ("model", "corpus", "stages", "versions")}


def shards(first: str | Path) -> list[Path]:
    """Return the files of all shards, in order, given the first, ``0000.parquet``.

    The others lie beside it: thousands of paths are more than a command line holds. How many
    there are is on record, for the folder may hold some of an earlier run.
    """
    first = Path(first)
    count = read_provenance(first)["stages"]["tokens"]["shards"]
    return [first.with_name(f"{shard:04d}.parquet") for shard in range(count)]


def write_table(table: pa.Table, path: str | Path, record: dict[str, Any]) -> None:
    """Write ``table`` to Parquet (zstd) with ``record`` as its provenance."""
    table = table.replace_schema_metadata(metadata(record))
    with written_whole(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def write_parts(
    parts: Iterable[pa.Table],
    schema: pa.Schema,
    path: str | Path,
    record: Callable[[], dict[str, Any]],
) -> None:
    """Write tables to one Parquet file (zstd), a row group each, as they come.

    ``record`` is called once all have come: what they add up to is part of the provenance, which
    stands in the file's schema. Until then they wait in a file beside it.
    """
    with written_whole(path) as temporary:
        # A path, not a file of Python's: threads of Arrow that let go of one while Python ends
        # would abort it.
        waiting = temporary.with_name(f"{temporary.name}.parts")
        with pq.ParquetWriter(waiting, schema, compression="zstd") as writer:
            for part in parts:
                writer.write_table(part)
                # Arrow would keep what a part took beside what the next one takes.
                pa.default_memory_pool().release_unused()
        schema = schema.with_metadata(metadata(record()))
        with (
            pq.ParquetFile(waiting, pre_buffer=False) as parted,
            pq.ParquetWriter(temporary, schema, compression="zstd") as writer,
        ):
            for group in range(parted.num_row_groups):
                writer.write_table(parted.read_row_group(group, use_threads=False).cast(schema))
                pa.default_memory_pool().release_unused()


def write_frame(
    frame: "pd.DataFrame", parquet: str | Path, csv: str | Path, record: dict[str, Any]
) -> None:
    """Write a table of results twice: Parquet with its provenance, and CSV for everyone."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    write_table(table, parquet, record)
    with written_whole(csv) as temporary:
        frame.to_csv(temporary, index=False)


def write_study(
    frames: Mapping[Path, "pd.DataFrame"], record: dict[str, Any], *, site: str, regression: str
) -> str:
    """Write the tables of one study, each as Parquet with CSV beside it, and return its name.

    What was regressed comes first in every table: model, corpus, site, regression.
    """
    keys = [record["model"]["name"], record["corpus"]["name"], site, regression]
    for path, frame in frames.items():
        names = ("model", "corpus", "site", "regression")
        for place, (name, key) in enumerate(zip(names, keys, strict=True)):
            frame.insert(place, name, key)
        write_frame(frame, path, path.with_suffix(".csv"), record)
    return ", ".join(keys)


@contextmanager
def parquet_writer(
    path: str | Path, schema: pa.Schema, **options: Any
) -> Iterator[pq.ParquetWriter]:
    """Yield a writer for a Parquet file that appears when all of it is written."""
    with (
        written_whole(path) as temporary,
        pq.ParquetWriter(temporary, schema, **options) as writer,
    ):
        yield writer


def encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return how a long table of numbers is written: fast to read before small.

    A dictionary of numbers that are all different would be as large as the numbers themselves.
    """
    numbers = [field.name for field in schema if pa.types.is_float64(field.type)]
    numbers += [
        f"{field.name}.list.element" for field in schema if pa.types.is_fixed_size_list(field.type)
    ]
    return {
        "compression": "lz4",
        "use_dictionary": ["document"],
        "use_byte_stream_split": numbers,
    }


def values_of(paths: Iterable[str | Path], column: str, rows: np.ndarray) -> np.ndarray:
    """Return what a column has in some rows, ascending, of consecutive Parquet files.

    One row group is in memory at a time.
    """
    found = [np.zeros(0)]
    first = 0
    for path in paths:
        # Without pre-buffering, what is not asked for is not read ahead.
        file = pq.ParquetFile(path, pre_buffer=False)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            low, high = np.searchsorted(rows, [first, first + size])
            if low < high:
                values = file.read_row_group(group, columns=[column])[column].to_numpy()
                found.append(values[rows[low:high] - first])
            first += size
    return np.concatenate(found[1:] or found)


def rows_of_documents(
    paths: Sequence[str | Path], documents: Sequence[str], columns: list[str] | None = None
) -> "pd.DataFrame":
    """Return the rows of some documents, in order, without holding the files in memory.

    Parameters
    ----------
    paths : sequence of path
        Files of all shards.
    documents : sequence of str
    columns : list of str, optional
        By default all.
    """
    chosen = [("document", "in", list(documents))]
    table = pq.read_table(
        paths, columns=columns, filters=chosen, partitioning=None, pre_buffer=False
    )
    return table.unify_dictionaries().to_pandas().astype({"document": str})


def row_count(paths: Iterable[str | Path]) -> int:
    """Return how many rows Parquet files have in all."""
    return sum(pq.read_metadata(path).num_rows for path in paths)


def batches(
    path: str | Path, rows: int, progress: str, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file in batches of at most ``rows`` rows, with a progress bar.

    One batch is in memory at a time: pre-buffering would hold the whole file. Small row groups come
    together: were each written as one again, what a file says of its row groups would take more
    memory than a batch does.
    """
    file = pq.ParquetFile(path, pre_buffer=False)
    waiting: list[pa.RecordBatch] = []
    with tqdm(total=file.metadata.num_rows, unit="row", desc=progress, delay=2) as bar:
        # Threads would cost more time of the processor than they save.
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            if waiting and sum(map(len, waiting)) + len(batch) > rows:
                yield _joined(waiting)
                waiting = []
                # Arrow would keep what a batch took beside what the next one takes.
                pa.default_memory_pool().release_unused()
            waiting.append(batch)
            bar.update(batch.num_rows)
    if waiting:
        yield _joined(waiting)


def _joined(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return consecutive batches as one, with one dictionary per column."""
    if len(batches) == 1:
        return batches[0]
    return pa.Table.from_batches(batches).unify_dictionaries().combine_chunks().to_batches()[0]
