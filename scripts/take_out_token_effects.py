#!/usr/bin/env python3
"""Remove the effects of tokens from one shard's design."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import design, token_effects
from attnlag.storage import tables

ROWS = 16_384

parser = program.argument_parser(__doc__)
parser.add_argument("design", type=Path, help="the design (Parquet)")
parser.add_argument("--norms", type=Path, required=True, help="of the same shard")
parser.add_argument("--effects", type=Path, required=True, help="those of all shards (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    effects = pq.read_table(args.effects)
    solved = tables.read_provenance(args.effects)
    tokens = token_effects.tokens_of([args.norms])
    schema = pq.read_schema(args.design)
    record = tables.provenance(
        tables.read_provenance(args.design),
        "token_effects",
        solved["stages"]["token_effects"],
        "numpy",
        absorbed=solved["absorbed"],
    )
    rows = 0
    with tables.parquet_writer(
        args.output,
        schema.with_metadata(tables.metadata(record)),
        **design.parquet_options(schema),
    ) as writer:
        for batch in tables.batches(args.design, ROWS, "token effects"):
            writer.write_table(
                token_effects.without_effects(pa.Table.from_batches([batch]), tokens, effects)
            )
            rows += batch.num_rows
        counts = pq.read_metadata(args.design).metadata[tables.COUNTS_KEY]
        writer.add_key_value_metadata({tables.COUNTS_KEY: counts})
    program.log.info(
        "%s, %s: took them out of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(rows, "row"),
    )


if __name__ == "__main__":
    program.run(main, parser)
