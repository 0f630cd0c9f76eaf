#!/usr/bin/env python3
"""Read one shard's design again, for what the residuals of its regression say.

The estimates come from the cross-products of all shards. What is written are sums, which shards
add up: for errors that allow for heteroskedasticity or autocorrelation, for tests of the
residuals, and for the figure of diagnostics.
"""

from dataclasses import asdict
from pathlib import Path

from attnlag.errors import counted
from attnlag.pipeline import program
from attnlag.regression import crossproducts, residuals
from attnlag.regression.settings import ResidualsSettings
from attnlag.storage import tables

ROWS = 16_384

parser = program.argument_parser(__doc__, ResidualsSettings)
parser.add_argument("design", type=Path, help="the design of this shard (Parquet)")
parser.add_argument("--crossproducts", type=Path, required=True, help="of this shard (Parquet)")
parser.add_argument("--solution", type=Path, required=True, help="the estimates (JSON)")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    model, lags = residuals.model_from_json(args.solution.read_text(encoding="utf-8"))
    shard = crossproducts.read_shard(args.crossproducts)
    batches = tables.batches(args.design, ROWS, "residuals")
    sums = residuals.accumulate(
        batches,
        model,
        lags,
        residuals.means_of(shard) if model.document_effects else None,
    )
    record = tables.provenance(
        tables.read_provenance(args.crossproducts),
        "residuals",
        asdict(args.settings),
        "numpy",
        residuals=residuals.record_of(sums),
    )
    tables.write_table(residuals.to_table(sums), args.output, record)
    program.log.info(
        "%s, %s: residuals of %s in %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(int(sums.n.max(initial=0)), "row"),
        counted(len(model.layers), "layer"),
    )


if __name__ == "__main__":
    program.run(main, parser)
