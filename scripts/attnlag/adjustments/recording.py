"""Files of what forward passes over the sequences of a tokens file give."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.adjustments import columns, geometry, heads, layout, surprisal
from attnlag.adjustments.extraction import Adjustments, write_runs
from attnlag.adjustments.norms import l2_norms
from attnlag.adjustments.settings import Measured
from attnlag.model.hooks import STREAM
from attnlag.storage import tables
from attnlag.storage.sequences import TokenSequence, stored_sequences

# Rows per row group. Larger groups of vectors are not read faster; more groups take more memory.
ROWS_OF_GROUP = {"vectors": 4096, "norms": 16_384}


def norms_of(site: str) -> str:
    """Return the name of the norms of a site, beside its vectors."""
    return f"{site}: norms"


def files_of(settings: Measured, output: Any, of_sites: Iterable[str]) -> dict[str, Path]:
    """Return the files of `record` by the name of their values.

    Parameters
    ----------
    output : object
        Its attributes are the files of a job: ``sites``, ``stream``, ``geometry`` and ``heads``.
    of_sites : iterable of str
        The names of the values in the files of sites.
    """
    files = dict(zip([*of_sites, STREAM], [*output.sites, output.stream], strict=True))
    if settings.geometry:
        names = map(geometry.name_of, settings.sites)
        files |= dict(zip(names, output.geometry, strict=True))
    if settings.heads:
        files[heads.NAME] = output.heads
    return files


def record(
    tokens: Path,
    adjustments: Adjustments,
    outputs: Mapping[str, Path],
    record_of: Callable[[str], dict[str, Any]],
    stored: str = "float32",
) -> None:
    """Run a model over the sequences of a tokens file and write each result to its file.

    Rows are in the order of the sequences and their tokens. Memory does not grow with the file.
    Files and their records are found by the name of their values, from `Adjustments.measure` or
    `norms_of`.
    """
    layers, sites = len(adjustments.blocks), adjustments.sites
    geometries = {geometry.name_of(site) for site in sites}
    vectors = set(sites) if adjustments.keep == "vectors" else set()
    writers: dict[str, pq.ParquetWriter] = {}

    def schema_of(name: str) -> pa.Schema:
        if name == surprisal.PREDICTIONS:
            return surprisal.SCHEMA
        if name == heads.NAME:
            # Heads have been proved by the time that the first ones are written.
            if not adjustments.heads:
                return columns.schema(0)
            return columns.schema(adjustments.heads, adjustments.heads_of_a_layer)
        if name in geometries:
            return geometry.schema(layers)
        return columns.schema(layers, adjustments.width if name in vectors else None, stored)

    def values_of(name: str, results: dict[str, list[np.ndarray]]) -> list[np.ndarray]:
        if name in geometries:
            return geometry.columns_of(results[name])
        if name not in results:
            return [l2_norms(values) for values in results[name.removesuffix(norms_of(""))]]
        return results[name]

    with ExitStack() as files:

        def writer_of(name: str) -> pq.ParquetWriter:
            if name not in writers:
                schema = schema_of(name)
                writers[name] = files.enter_context(
                    tables.parquet_writer(
                        outputs[name],
                        schema.with_metadata(tables.metadata(record_of(name))),
                        **layout.encoding(schema, stored if name in vectors else "float32"),
                    )
                )
            return writers[name]

        def write(run: list[TokenSequence], results: dict[str, list[np.ndarray]]) -> None:
            for name in outputs:
                if name == heads.NAME and not adjustments.heads:
                    continue
                if name == surprisal.PREDICTIONS:
                    keys = pa.table(layout.keys_of(run), columns.KEYS)
                    table = surprisal.table(keys, results[name])
                else:
                    precision = stored if name in vectors else "float32"
                    table = layout.table(run, values_of(name, results), schema_of(name), precision)
                rows = ROWS_OF_GROUP["vectors" if name in vectors else "norms"]
                writer_of(name).write_table(table, row_group_size=rows)

        write_runs(stored_sequences(tokens), adjustments, write)
        for name in outputs:
            # The fast path was chosen by measurement; stating it reproduces the same bytes.
            facts: dict[Any, Any] = {"fast": adjustments.fast}
            if name == heads.NAME:
                facts[columns.HEADS_KEY] = adjustments.heads_remark
            writer_of(name).add_key_value_metadata(facts)
        if adjustments.sample:
            for site in sites:
                pairs = adjustments.sample.means(site, STREAM)
                writer_of(geometry.name_of(site)).add_key_value_metadata(geometry.metadata(pairs))
