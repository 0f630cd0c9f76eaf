#!/usr/bin/env python3
"""Read one shard's design again, for what the residuals of its regression say.

The estimates come from the cross-products of all shards. What is written are sums, which shards
add up: for errors that allow for heteroskedasticity or autocorrelation, for tests of the
residuals, and for the figure of diagnostics.
"""

from pathlib import Path

from attnlag import crossproducts, program, regression, residuals, tables
from attnlag.errors import counted

ROWS = 50_000

parser = program.argument_parser(__doc__)
parser.add_argument("design", type=Path, help="the design of this shard (Parquet)")
parser.add_argument(
    "--crossproducts", type=Path, nargs="+", required=True, help="all shards, in order"
)
parser.add_argument("--shard", type=int, default=0, help="this shard's place among them")
parser.add_argument("--output", type=Path, required=True)


def main(args):
    settings = {"hac_lags": None, "fixed_effects": "none", **args.settings}
    effects = settings["fixed_effects"] == "document"
    shards = [crossproducts.read_shard(path) for path in args.crossproducts]
    stack = crossproducts.summed(shards, fixed_effects=effects)
    solutions = regression.solve_all(stack)
    lags = settings["hac_lags"]
    if lags is None:
        counts = [tables.read_provenance(path)["counts"] for path in args.crossproducts]
        sequences = sum(count["sequences"] - count["short_sequences"] for count in counts)
        rows = max(solution.n_obs for solution in solutions)
        lags = residuals.default_hac_lags(rows / max(sequences, 1))
    batches = tables.batches(args.design, ROWS, "residuals")
    sums = residuals.accumulate(
        batches,
        residuals.model_of(stack, solutions),
        lags,
        residuals.means_of(shards[args.shard]) if effects else None,
    )
    record = tables.provenance(
        tables.read_provenance(args.crossproducts[args.shard]),
        "residuals",
        settings,
        "numpy",
        residuals=residuals.record_of(sums),
    )
    tables.write_table(residuals.to_table(sums), args.output, record)
    program.log.info(
        "%s, %s: residuals of %s in %s, Newey-West errors of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(int(sums.n.max(initial=0)), "row"),
        counted(len(stack.layers), "layer"),
        counted(lags, "lag"),
    )


if __name__ == "__main__":
    program.run(main, parser)
