"""Add up the sums of the vectors of one site over all shards, for the means of its layers."""

import attnlag.pipeline.program as program

from attnlag.adjustments import centred
from attnlag.errors import counted
from attnlag.storage import tables


def main(job):
    paths, made = job.input.sums, job.output.sums
    shards = counted(len(paths), "shard")
    tables.write_table(centred.read_sums(paths).table(), made, tables.of_all_shards(paths))
    program.log.info(f"{tables.names_of(made)}: sums of vectors from {shards}")


if __name__ == "__main__":
    program.run(main)
