"""Reduce the adjustments of one site and shard to their L2 norms and the sums of their vectors.

The norm itself is stored, not its logarithm. The design counts norms of zero and leaves them out.
"""

import attnlag.pipeline.program as program

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.errors import counted
from attnlag.quantities import centred, columns, norms
from attnlag.storage import tables


def main(job):
    record = tables.provenance(tables.read_provenance(job.input.activations), "norms", {}, "numpy")
    # Pre-buffering would read ahead columns that are not needed.
    file = pq.ParquetFile(job.input.activations, pre_buffer=False)
    layers = columns.layers_in(file.schema_arrow)
    width = file.schema_arrow.field(layers[0]).type.list_size
    sums = centred.VectorSums.empty(len(layers), width)
    schema = columns.schema(len(layers)).with_metadata(tables.metadata(record))
    with tables.parquet_writer(job.output.norms, schema, compression="zstd") as writer:
        # Row groups of vectors are smaller; as many row groups of norms would take memory to open.
        held: list[pa.Table] = []
        for group in tqdm(range(file.num_row_groups), desc="norms", unit="row group", delay=2):
            held.append(norms.norms_of_row_group(file, group, sums.add))
            if sum(map(len, held)) >= tables.ROWS_AT_ONCE or group == file.num_row_groups - 1:
                writer.write_table(pa.concat_tables(held).unify_dictionaries())
                held = []
    tables.write_table(sums.table(), job.output.sums, record)
    tokens = counted(file.metadata.num_rows, "token")
    program.log.info(f"{record.names}: norms of {tokens}")


if __name__ == "__main__":
    program.run(main)
