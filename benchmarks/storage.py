"""How fast and how small vectors are in Parquet, by layout and encoding.

    python benchmarks/storage.py

Vectors of real text: what the attention of the embedded default adds, which `make` has extracted
(--activations takes any other file). Each way writes them and reads them column by column, as the
norms are taken. Rates are megabytes of float32 per second of the processor, best of so many
rounds; size and ratios are against float32 without compression. The error is that of the norms,
relative, against float32.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.quantities import columns, formats, norms
from attnlag.storage.sequences import TokenSequence

ROOT = Path(__file__).parents[1]
DEFAULT = ROOT / "results/smollm2-135m-instruct/prompts/attention/activations/0000.parquet"


# Name: precision, rows of a row group, and what is not as attnlag has it.
WAYS: dict[str, tuple[str, int, dict[str, Any]]] = {
    "attnlag, float32": ("float32", 4096, {}),
    "float32, zstd": ("float32", 4096, {"compression": "zstd"}),
    "float32, lz4": ("float32", 4096, {"compression": "lz4"}),
    "float32, zstd, byte-stream-split": ("float32", 4096, {"split": True, "compression": "zstd"}),
    "attnlag, bfloat16": ("bfloat16", 4096, {}),
    "bfloat16, zstd alone": ("bfloat16", 4096, {"use_byte_stream_split": False}),
    "attnlag, float16": ("float16", 4096, {}),
    "float16, no compression": ("float16", 4096, {"compression": "none"}),
}


def vectors_of(path: Path, rows: int) -> tuple[list[TokenSequence], list[np.ndarray]]:
    """Return the first rows of an activations file: a run of one sequence, an array per layer."""
    file = pq.ParquetFile(path, pre_buffer=False)
    batch = next(file.iter_batches(rows))
    names = columns.layers_in(batch.schema)
    width = batch.schema.field(names[0]).type.list_size
    layers = [batch[name].flatten().to_numpy().reshape(-1, width) for name in names]
    ids = np.zeros(batch.num_rows, np.int32)
    return [TokenSequence("d", 0, ids)], [x.astype(np.float32) for x in layers]


def measured(
    run: list[TokenSequence], layers: list[np.ndarray], way: str, path: Path, rounds: int
) -> dict[str, Any]:
    """Return one row of the table."""
    stored, group, changes = WAYS[way]
    changes = dict(changes)
    schema = columns.schema(len(layers), layers[0].shape[1], stored)
    options = formats.encoding(schema, stored)
    if changes.pop("split", False):
        split = [f"{name}.list.element" for name in columns.layers_in(schema)]
        options["use_byte_stream_split"] = split
    options |= changes
    if options["compression"] == "none":
        options.pop("compression_level", None)
    written, read = [], []
    for _ in range(rounds):
        began = time.process_time()
        table = formats.table(run, layers, schema, stored)
        with pq.ParquetWriter(path, schema, **options) as writer:
            writer.write_table(table, row_group_size=group)
        written.append(time.process_time() - began)
        found, began = [], time.process_time()
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for index in range(file.num_row_groups):
                for name in columns.layers_in(schema):
                    column = file.read_row_group(index, columns=[name])[name]
                    column.combine_chunks().flatten().to_numpy()
        read.append(time.process_time() - began)
    with pq.ParquetFile(path) as file:
        found = pa.concat_tables(norms.norms_in(file, lambda *_: None))
    norms_found = np.stack([found[n] for n in columns.layers_in(schema)])
    exact = np.stack([norms.l2_norms(x) for x in layers])
    apart = np.abs(norms_found / exact - 1)
    size = sum(x.nbytes for x in layers)
    return {
        "way": way,
        "write MB/s": size / 1e6 / min(written),
        "read MB/s": size / 1e6 / min(read),
        "size": os.path.getsize(path) / size,
        "error, median": np.median(apart),
        "error, largest": apart.max(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--activations", type=Path, default=DEFAULT)
    parser.add_argument("--rows", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    run, layers = vectors_of(given.activations, given.rows)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "v.parquet"
        rows = [measured(run, layers, way, path, given.rounds) for way in WAYS]
    frame = pd.DataFrame(rows).set_index("way")
    for rate in ("write", "read"):
        frame.insert(0, f"{rate} ratio", frame[f"{rate} MB/s"] / frame[f"{rate} MB/s"].iloc[0])
    shown: dict[Any, Any] = {column: "{:.2f}".format for column in frame} | dict.fromkeys(
        ["error, median", "error, largest"], "{:.0e}".format
    )
    shown |= dict.fromkeys(["write MB/s", "read MB/s"], "{:,.0f}".format)
    print(frame.to_string(formatters=shown))
