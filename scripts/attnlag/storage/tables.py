"""Parquet and CSV files, written whole or not at all and marked with their provenance.

Every Parquet file carries under the key ``attnlag`` of its metadata a JSON object: the model and
its digest, the corpus and its digest, the settings of each stage so far, and the versions of the
packages that computed it. It contains no clock time, host name or path, so equal inputs give equal
bytes. What writes a file raises UserError without room for it (`writing.written_whole`).
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

from attnlag.errors import UserError
from attnlag.escaping import text_for
from attnlag.section import Section
from attnlag.storage.made_by import JOB_KEY, job_metadata
from attnlag.storage.writing import written_whole

if TYPE_CHECKING:
    # Every program imports this module, but few need pandas, which takes 0.25 s to import.
    import pandas as pd

METADATA_KEY = b"attnlag"

# Rows of a table with a row per token that are in memory at a time.
ROWS_AT_ONCE = 16_384


class Record(dict[str, Any]):
    """The provenance of a file: what made it."""

    def settings(self, stage: str) -> dict[str, Any]:
        """Return the settings of one of the stages that made the file."""
        return self["stages"][stage]

    @property
    def tokens(self) -> int:
        """The number of tokens of the shard, in the record of its tokens."""
        return int(self["tokens"]["tokens"])

    @property
    def precision(self) -> str:
        """The coarsest precision of the numbers, that of the model or of stored vectors.

        It is ``bfloat16`` if no model is known, and ``float32`` or coarser otherwise.
        """
        found = set()
        for settings in self.get("stages", {}).values():
            stored = settings.get("extraction", settings).get("storage_dtype")
            found |= {settings.get("used", {}).get("dtype"), stored}
        for name in ("bfloat16", "float16"):
            if name in found:
                return name
        return "float32" if found & {"float32", "float64"} else "bfloat16"

    @property
    def names(self) -> str:
        """The names of the model and the corpus, for messages."""
        return f"{self['model']['name']}, {self['corpus']['name']}"


def provenance(
    upstream: Mapping[str, Any], stage: str, settings: Any, *packages: str, **facts: Any
) -> Record:
    """Return the provenance of the stage before, extended by the record of this stage.

    Settings are a section, or JSON-serialisable. ``packages`` are those whose versions affect the
    output; ``facts`` are further entries (``model=``, ``corpus=``, counts of this stage).
    """
    values = settings.model_dump() if isinstance(settings, Section) else settings
    versions = {package: importlib.metadata.version(package) for package in packages}
    return Record(
        upstream,
        **facts,
        stages={**upstream.get("stages", {}), stage: values},
        versions={**upstream.get("versions", {}), **versions},
    )


def read_job(path: str | Path) -> dict[str, Any] | None:
    """Return the job that made a Parquet file, None if the file states none or is damaged."""
    try:
        stated = pq.read_metadata(path).metadata or {}
        job: dict[str, Any] | None = json.loads(stated.get(JOB_KEY, b"null"))
    except (pa.ArrowException, OSError, ValueError):
        return None
    return job


def metadata(record: dict[str, Any]) -> dict[bytes, bytes]:
    """Return ``record`` and the job of this process as the metadata that carry them."""
    stated = json.dumps(record, sort_keys=True, ensure_ascii=False).encode()
    return {METADATA_KEY: stated, **job_metadata()}


def read_provenance(path: str | Path) -> Record:
    """Return the provenance record in a Parquet file that attnlag wrote."""
    return Record(json.loads(pq.read_metadata(path).metadata[METADATA_KEY]))


def damaged(paths: Iterable[Path]) -> list[str]:
    """Return a line for each Parquet file that is damaged or that attnlag did not write.

    Each file is read completely, so this is meant for use after a failure.
    """
    problems = []
    for path in paths:
        advice = "delete it, and it is made anew"
        try:
            file = pq.ParquetFile(path, pre_buffer=False)
            for _ in file.iter_batches(use_threads=False):
                pass
        except (pa.ArrowException, OSError) as error:
            reason = " ".join(str(error).split()).rstrip(".")
            problems.append(f"{path}: found a damaged file, expected Parquet ({reason}); {advice}")
        else:
            if METADATA_KEY not in (file.metadata.metadata or {}):
                problems.append(f"{path}: found no record of what made it; {advice}")
    return problems


def shared_provenance(paths: Sequence[Path]) -> Record:
    """Return the provenance of shards, without the entries that are specific to one of them.

    Raise UserError if the model ran in another precision for one shard, as ``dtype: auto`` has it
    if a run goes on on another device.
    """
    first = read_provenance(paths[0])
    dtypes: dict[str, tuple[str, Path]] = {}
    for path in paths:
        for stage, settings in read_provenance(path)["stages"].items():
            # A shard without a token to change needs no model.
            dtype = settings.get("used", {}).get("dtype")
            expected, where = dtypes.setdefault(stage, (dtype, path)) if dtype else (dtype, path)
            if dtype != expected:
                raise UserError(
                    f"{path}: found numbers of a model in {dtype}, expected {expected} as in "
                    f"{where}; state extraction.dtype, and all shards are made in one precision"
                )
    return Record({key: first[key] for key in ("model", "corpus", "stages", "versions")})


def by_site(paths: Iterable[Path], above: int = 1) -> dict[str, list[Path]]:
    """Return the files of shards by site, whose folder lies a number of folders above theirs."""
    paths_of: dict[str, list[Path]] = {}
    for path in paths:
        paths_of.setdefault(path.parents[above].name, []).append(path)
    return paths_of


def read_shards(paths: Iterable[Path], columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of all shards, in order, with one dictionary for each column of names."""
    shards: list[pa.Table] = []
    for path in paths:
        shards.append(pq.read_table(path, columns=columns).replace_schema_metadata())
    return pa.concat_tables(shards).unify_dictionaries()


def check_in(paths: Iterable[Path]) -> str:
    """Return the result of the check in the first of some files that has a document."""
    for path in paths:
        check = read_provenance(path).get("check")
        if check:
            return str(check)
    return "no documents"


def write_table(table: pa.Table, path: str | Path, record: dict[str, Any]) -> None:
    """Write ``table`` to Parquet with ``record`` as its provenance."""
    with parquet_writer(path, table.schema, record) as writer:
        writer.write_table(table)


@contextmanager
def parquet_writer(
    path: str | Path, schema: pa.Schema, record: dict[str, Any] | None, **options: Any
) -> Iterator[pq.ParquetWriter]:
    """Yield a writer for a Parquet file (zstd by default) that appears only once it is complete."""
    schema = schema.with_metadata(None if record is None else metadata(record))
    # Arrow gets a path, not a Python file: an Arrow thread that releases a Python file while the
    # interpreter shuts down aborts the process.
    with (
        written_whole(path) as temporary,
        pq.ParquetWriter(temporary, schema, **{"compression": "zstd", **options}) as writer,
    ):
        yield writer


def write_parts(
    parts: Iterable[pa.Table],
    schema: pa.Schema,
    path: str | Path,
    record: Callable[[], dict[str, Any]],
) -> None:
    """Write tables to one Parquet file as they arrive, each as one row group.

    ``record`` is called after the last table, because the provenance contains totals over all.
    """
    with parquet_writer(path, schema, None) as writer:
        for part in parts:
            writer.write_table(part)
            # Arrow would otherwise keep the memory of one part while the next is read.
            pa.default_memory_pool().release_unused()
        writer.add_key_value_metadata(metadata(record()))


def write_parquet(frame: "pd.DataFrame", path: Path, record: dict[str, Any]) -> None:
    """Write a table of results to Parquet with its provenance."""
    table = pa.Table.from_pandas(frame, preserve_index=False).replace_schema_metadata()
    write_table(table, path, record)


def write_frame(frame: "pd.DataFrame", path: Path, record: dict[str, Any]) -> None:
    """Write a table of results twice: Parquet with its provenance, and CSV for everyone."""
    write_parquet(frame, path, record)
    texts = frame.select_dtypes(["object", "string", "category"])
    escaped = {str(name): _escaped(texts[name]) for name in texts}
    with written_whole(path.with_suffix(".csv")) as temporary:
        frame.assign(**escaped).to_csv(temporary, index=False)


def _escaped(column: "pd.Series") -> "pd.Series":
    """Return a column without texts that a spreadsheet would take for formulas."""
    column = column.astype(object)
    replaced = {}
    # Many rows have the same text, which is nearly always harmless.
    for cell in column.unique():
        if isinstance(cell, str):
            text = text_for("csv", cell)
            if text != cell:
                replaced[cell] = text
    if not replaced:
        return column
    return column.map(lambda cell: replaced.get(cell, cell) if isinstance(cell, str) else cell)


def write_results(
    frames: Mapping[Path, "pd.DataFrame"], record: dict[str, Any], **names: str
) -> str:
    """Write tables of results as `write_frame` does; return the names that identify their rows.

    Every table begins with the model, the corpus and the given names, such as ``site``.
    """
    keys = {"model": record["model"]["name"], "corpus": record["corpus"]["name"], **names}
    for path, frame in frames.items():
        for place, (name, key) in enumerate(keys.items()):
            frame.insert(place, name, key)
        write_frame(frame, path, record)
    return ", ".join(keys.values())


def values_at(paths: Iterable[str | Path], column: str, rows: np.ndarray) -> np.ndarray:
    """Return the values of a column in the given rows (ascending) of consecutive Parquet files.

    ``rows`` and the values are (rows,) arrays. One row group is in memory at a time.
    """
    values_of_groups = []
    first = 0
    for path in paths:
        # Pre-buffering would read more than the rows that are needed.
        file = pq.ParquetFile(path, pre_buffer=False)
        for group in range(file.num_row_groups):
            size = file.metadata.row_group(group).num_rows
            low, high = np.searchsorted(rows, [first, first + size])
            if low < high:
                values = file.read_row_group(group, columns=[column])[column].to_numpy()
                values_of_groups.append(values[rows[low:high] - first])
            first += size
    return np.concatenate(values_of_groups or [np.zeros(0)])


def rows_of_documents(
    paths: Sequence[str | Path], documents: Sequence[str], columns: list[str] | None = None
) -> "pd.DataFrame":
    """Return the rows of some documents, in order, without loading the files whole."""
    filters = [("document", "in", list(documents))]
    # One file and one thread at a time: others would read ahead.
    options: dict[str, Any] = {"partitioning": None, "pre_buffer": False, "use_threads": False}
    tables = [pq.read_table(path, columns=columns, filters=filters, **options) for path in paths]
    return pa.concat_tables(tables).unify_dictionaries().to_pandas().astype({"document": str})


def row_count(paths: Iterable[str | Path]) -> int:
    """Return the total number of rows of some Parquet files."""
    rows = 0
    for path in paths:
        rows += pq.read_metadata(path).num_rows
    return rows


def document_names(path: Path) -> set[str]:
    """Return the documents of a table with a row per token."""
    return set(pq.read_table(path, columns=["document"])["document"].to_pylist())


def runs(batch: pa.RecordBatch) -> tuple[list[str], np.ndarray]:
    """Return the documents of a batch, in order, and the first row of each, (documents,) int."""
    column = batch.column("document")
    codes = column.indices.to_numpy()
    starts = np.flatnonzero(np.diff(codes, prepend=-1))
    return column.dictionary.take(pa.array(codes[starts])).to_pylist(), starts


def whole_documents(batches: Iterable[pa.RecordBatch], rows: int = 0) -> Iterator[pa.RecordBatch]:
    """Yield consecutive rows in batches of whole documents, of ``rows`` or more but for the last.

    A document that is longer than all batches is in memory whole.
    """
    waiting: list[pa.RecordBatch] = []
    last = None
    for batch in batches:
        names, starts = runs(batch)
        # The first rows may go on with the document that waits.
        begun = starts[1:] if names[:1] == [last] else starts
        ends = begun[begun >= rows - sum(map(len, waiting))]
        if waiting and len(ends):
            waiting.append(batch.slice(0, ends[0]))
            yield _as_one(waiting)
            batch = batch.slice(ends[0])
        waiting.append(batch)
        last = names[-1] if names else last
    if waiting:
        yield _as_one(waiting)


def _as_one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the batches of a list as one, with one dictionary per column, and empty the list."""
    parts = [*filter(len, batches)] or batches[:1]
    batches.clear()
    if len(parts) == 1:
        return parts[0]
    whole = pa.Table.from_batches(parts).unify_dictionaries().combine_chunks().to_batches()[0]
    parts.clear()
    # Arrow would otherwise keep the memory of the parts.
    pa.default_memory_pool().release_unused()
    return whole


def batches(
    path: str | Path, rows: int, progress: str, columns: list[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file in batches of at most ``rows`` rows, with a progress bar.

    One batch is in memory at a time; pre-buffering would load the whole file.
    """
    file = pq.ParquetFile(path, pre_buffer=False)
    with tqdm(total=file.metadata.num_rows, unit="row", desc=progress, delay=2) as bar:
        # Threads would cost more CPU time than they save.
        for batch in file.iter_batches(rows, columns=columns, use_threads=False):
            yield batch
            bar.update(batch.num_rows)


def documents(path: str | Path, progress: str) -> Iterator[pa.RecordBatch]:
    """Yield a Parquet file in batches of whole documents, which join small row groups."""
    return whole_documents(batches(path, ROWS_AT_ONCE, progress), ROWS_AT_ONCE)
