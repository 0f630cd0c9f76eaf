"""Add up the sums of the vectors of one site over all shards, for the means of its layers."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.quantities import centred
from attnlag.storage import tables


def main(job):
    record = tables.of_all_shards(job.input.sums)
    centred.VectorSums.read(*job.input.sums).write(job.output.sums, record)
    shards = counted(len(job.input.sums), "shard")
    program.log.info(f"{record.names}: sums of vectors from {shards}")


if __name__ == "__main__":
    program.run(main)
