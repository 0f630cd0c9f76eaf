#!/usr/bin/env python3
"""Solve the normal equations of a regression in every layer, from the sums of all shards.

This is what the second reading of the design needs to know. It is done once, so that a shard's
residuals need the files of no other shard.
"""

from pathlib import Path

from attnlag.errors import UserError, counted
from attnlag.pipeline import program
from attnlag.regression import crossproducts, least_squares, residuals
from attnlag.regression.settings import ResidualsSettings
from attnlag.storage import tables, writing

parser = program.argument_parser(__doc__, ResidualsSettings)
parser.add_argument("crossproducts", type=Path, help="the first shard; the others lie beside it")
parser.add_argument("--output", type=Path, required=True, help="JSON")


def main(args):
    settings = args.settings
    paths = tables.shards(args.crossproducts)
    stack = crossproducts.summed(
        [crossproducts.read_shard(path) for path in paths],
        fixed_effects=settings.fixed_effects == "document",
    )
    counts = [tables.read_provenance(path)["counts"] for path in paths]
    sequences = sum(count["sequences"] - count["short_sequences"] for count in counts)
    record = tables.read_provenance(paths[0])
    if not sequences:
        longest, least = (
            max(count[name] for count in counts) for name in ("longest_sequence", "fewest_tokens")
        )
        raise UserError(
            f"{record['model']['name']}, {record['corpus']['name']}: found no sequence that is "
            f"long enough to give a row: the longest has {counted(longest, 'token')}, expected at "
            f"least {least}; give longer texts, nearer lags and leads, or a smaller "
            "norms.drop_first"
        )
    solutions = least_squares.solve_all(stack)
    lags = settings.hac_lags
    if lags is None:
        rows = max(solution.n_obs for solution in solutions)
        lags = residuals.default_hac_lags(rows / sequences)
    model = residuals.model_of(stack, solutions)
    writing.write_text(residuals.model_to_json(model, lags) + "\n", args.output)
    program.log.info(
        "%s, %s: solved %s, Newey-West errors of %s",
        record["model"]["name"],
        record["corpus"]["name"],
        counted(len(stack.layers), "layer"),
        counted(lags, "lag"),
    )


if __name__ == "__main__":
    program.run(main, parser)
