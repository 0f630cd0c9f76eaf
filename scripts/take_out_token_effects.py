"""Remove the effects of tokens from one shard's design, and sum its cross-products."""

import attnlag.pipeline.program as program

from attnlag.errors import counted
from attnlag.regression.estimation import token_effects
from attnlag.storage import tables


def main(job):
    given, output = job.input, job.output
    rows = token_effects.take_out(
        given.design, given.norms, given.effects, output.design, output.crossproducts
    )
    program.log.info(f"{tables.names_of(output.design)}: took them out of {counted(rows, 'row')}")


if __name__ == "__main__":
    program.run(main)
