#!/usr/bin/env python3
"""Add up the sums of the vectors of one site over all shards, for the means of its layers."""

import attnlag.pipeline.program as program

from attnlag.adjustments import directions
from attnlag.errors import counted
from attnlag.storage import tables


def main(job):
    paths = job.input.sums
    record = tables.of_all_shards(paths)
    tables.write_table(directions.read_sums(paths).table(), job.output.sums, record)
    program.log.info(
        "%s: sums of vectors from %s", tables.names_in(record), counted(len(paths), "shard")
    )


if __name__ == "__main__":
    program.run(main)
