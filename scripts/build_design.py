#!/usr/bin/env python3
"""Put the log norm of each token beside those of the tokens before it, for one shard.

Lags never cross a window or a document, and the first tokens of every sequence, which are
attention sinks, are neither outcomes nor lags.
"""

import json
from dataclasses import asdict
from pathlib import Path

import pyarrow.parquet as pq

from attnlag import design, layout, program, tables
from attnlag.errors import counted

ROWS = 50_000

parser = program.argument_parser(__doc__)
parser.add_argument("norms", type=Path, help="the norms (Parquet)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = {"lags": [1, 2], "drop_first": 1, **args.settings}
    layers = layout.layers_in(pq.read_schema(args.norms))
    schema = design.schema(layers, settings["lags"])
    batches = tables.batches(args.norms, ROWS, "design")
    record = tables.read_provenance(args.norms)
    record = tables.provenance(record, "design", settings, "numpy")
    counts = design.Counts()
    rows = 0
    with tables.parquet_writer(
        args.output, schema.with_metadata(tables.metadata(record)), compression="zstd"
    ) as writer:
        for table in design.designs(batches, settings["lags"], settings["drop_first"], counts):
            writer.write_table(table)
            rows += table.num_rows
        # What was left out is known only now, when the schema is written already.
        writer.add_key_value_metadata({tables.COUNTS_KEY: json.dumps(asdict(counts))})
    program.log.info(
        "%s, %s: %s from %s (%s too short)%s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(rows, "row"),
        counted(counts.sequences, "sequence"),
        counts.short_sequences,
        "".join(
            f"; {layer}: {counted(number, 'row')} dropped for zero or non-finite norms"
            for layer, number in counts.dropped_rows.items()
        ),
    )


if __name__ == "__main__":
    program.run(main, parser)
