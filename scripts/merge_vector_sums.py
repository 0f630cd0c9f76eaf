"""Add up the sums of the vectors of one site over all shards, for the means of its layers."""

from attnlag.errors import counted
from attnlag.pipeline.program import log
from attnlag.quantities import centred
from attnlag.storage import tables


def main(job):
    record = tables.shared_provenance(job.input.sums)
    centred.VectorSums.read(*job.input.sums).write(job.output.sums, record)
    shards = counted(len(job.input.sums), "shard")
    log.info(f"{record.names}: sums of vectors from {shards}")
