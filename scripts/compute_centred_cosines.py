"""Compare the directions of the adjustments of one site and shard, centred by the layer's mean.

The mean vector is that of all shards. The output has the cosine of each token with the previous
token and, for each layer, the mean cosine at distances up to 16 tokens and of random pairs.
"""

import pyarrow.parquet as pq
from tqdm import tqdm

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import centred
from attnlag.quantities.settings import Norms
from attnlag.storage import tables


def main(job, settings: Norms):
    record = tables.provenance(
        tables.read_provenance(job.input.activations), "directions", settings, "numpy"
    )
    file = pq.ParquetFile(job.input.activations, pre_buffer=False)
    sums = centred.VectorSums.read(job.input.sums)
    comparison = centred.CentredCosines(file, sums.means(), settings.drop_first)
    schema = centred.schema(sums.layers)
    with tables.parquet_writer(job.output.centred_cosines, schema, record) as writer:
        groups = comparison.previous()
        for table in tqdm(groups, "directions", file.num_row_groups, unit="row group", delay=2):
            writer.write_table(table)
    tables.write_table(comparison.by_distance(), job.output.distances, record)
    tokens = counted(file.metadata.num_rows, "token")
    log.info(f"{record.names}: directions of {tokens}")
