"""Reduce the adjustments of one site and shard to their L2 norms and the sums of their vectors.

The norm itself is stored, not its logarithm. The design counts norms of zero and leaves them out.
A row is a token: `document`, `window`, `position`, `token_id`, and a float32 column for each layer,
`layer_00`, `layer_01`, ….
The sums leave out first tokens and vectors that are not finite. Each file appears once it is whole
(`tables.parquet_writer`).
"""

import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import centred, columns, norms
from attnlag.storage import tables


def main(job):
    record = tables.provenance(tables.read_provenance(job.input.activations), "norms", {}, "numpy")
    # Pre-buffering would read ahead columns that are not needed.
    file = pq.ParquetFile(job.input.activations, pre_buffer=False)
    layers = columns.layer_numbers(file.schema_arrow)
    width = file.schema_arrow.field(columns.layer_name(layers[0])).type.list_size
    sums = centred.VectorSums.empty(layers, width)
    schema = columns.schema(layers)
    with tables.parquet_writer(job.output.norms, schema, record) as writer:
        # The vectors of each layer are added to the sums as they are read.
        for rows in norms.norms_in(file, sums.add):
            writer.write_table(rows)
    sums.write(job.output.sums, record)
    tokens = counted(file.metadata.num_rows, "token")
    log.info(f"{record.names}: norms of {tokens}")
